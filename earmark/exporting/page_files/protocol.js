// A classic script, since browsers load no module of a file:// page.
"use strict";
document.getElementById("status").textContent =
  location.protocol === "file:"
    ? "Browsers do not run this page from a file. In its folder, run `python -m http.server` and open http://localhost:8000"
    : "Loading the tagger ...";
