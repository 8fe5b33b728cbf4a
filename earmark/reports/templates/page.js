"use strict";
// Tables that sort, and the clips behind a matrix. Rows are made when they are looked at, and all
// that a corpus brings (tags, names) is set as text, never as html.
(() => {
  const PAGE = 30;
  const $ = (id) => document.getElementById(id);

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "share") made.style.setProperty("--share", value);
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  // ---- tables that sort

  function keyOf(cell) {
    const text = cell ? cell.textContent.trim() : "";
    const number = parseFloat(text);
    return Number.isNaN(number) ? text : number;
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1; // numbers before what is missing
  }

  function sortBy(table, heading, column) {
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    const keyed = rows.map((row) => [keyOf(row.cells[column]), row]);
    keyed.sort((a, b) => sign * compare(a[0], b[0]));
    table.tBodies[0].append(...keyed.map((pair) => pair[1]));
  }

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      heading.tabIndex = 0;
      heading.addEventListener("click", () => sortBy(table, heading, column));
      heading.addEventListener("keydown", (event) => {
        if (event.key === "Enter") sortBy(table, heading, column);
      });
    });
  }

  // ---- one sound at a time

  document.addEventListener("play", (event) => {
    for (const other of document.querySelectorAll("audio")) {
      if (other !== event.target) other.pause();
    }
  }, true);

  // ---- the clips

  function start(data) {
    const clips = data.rows.map((row) => ({
      name: row[0], set: row[1], fold: row[2], given: row[3], answer: row[4],
      verified: row[5], severity: row[6], top: row[7], audit: row[8], excerpt: row[9],
    }));
    const state = { cell: null, shown: 0, rows: [] };
    const percent = (p) => `${(100 * p).toFixed(p > 0.0995 && p < 0.9995 ? 0 : 1)} %`;
    const names = (numbers) => numbers.map((n) => data.tags[n]).join(", ") || "no tag";

    function kindOf(clip, tag) {
      const has = clip.given.includes(tag), got = clip.answer.includes(tag);
      return has && got ? "right" : has ? "missed" : got ? "alarm" : "";
    }

    function isWanted(clip) {
      if (clip.set !== Number($("set").value)) return false;
      const cell = state.cell;
      if (cell) {
        return cell.kind
          ? kindOf(clip, cell.tag) === cell.kind
          : clip.given[0] === cell.given && clip.answer[0] === cell.answer;
      }
      const show = $("show").value;
      if (show === "errors" && clip.severity === 0) return false;
      if (show === "right" && clip.severity > 0) return false;
      if (show === "issues" && !(clip.audit && clip.audit[2])) return false;
      const tag = $("tag").value;
      return tag === "" || kindOf(clip, Number(tag)) !== "";
    }

    function select() {
      const text = $("search").value.toLowerCase(), heard = $("heard").checked;
      const rows = clips.filter((clip) => isWanted(clip)
        && (!heard || clip.excerpt)
        && (!text || clip.name.toLowerCase().includes(text)));
      const doubt = (clip) => (clip.audit ? clip.audit[0] : -1);
      const given = (clip) => clip.top[0].reduce(
        (p, value, i) => (i % 2 && clip.given.includes(clip.top[0][i - 1]) ? value : p), 0);
      const order = {
        worst: (a, b) => b.severity - a.severity || given(a) - given(b),
        doubt: (a, b) => doubt(b) - doubt(a),
        name: (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
      }[$("order").value];
      state.rows = rows.sort(order);
      state.shown = 0;
      $("list").replaceChildren();
      describe();
      showMore();
    }

    function describe() {
      const n = state.rows.length, heard = state.rows.filter((clip) => clip.excerpt).length;
      const cell = state.cell;
      const what = !cell ? ""
        : cell.kind ? `${data.tags[cell.tag]}: ${{ missed: "missed", alarm: "false alarms", right: "right" }[cell.kind]}. `
          : `Given ${data.tags[cell.given]}, answered ${data.tags[cell.answer]}. `;
      const count = `${n} ${n === 1 ? "clip" : "clips"}, ${heard} with an excerpt. `;
      $("chosen").replaceChildren(what + count);
      if (cell) {
        const all = element("button", { type: "button" }, "Show all errors");
        all.addEventListener("click", () => choose(null));
        $("chosen").append(all);
      }
    }

    function showMore() {
      const next = state.rows.slice(state.shown, state.shown + PAGE);
      $("list").append(...next.map(drawn));
      state.shown += next.length;
      $("more").hidden = state.shown >= state.rows.length;
      $("more").textContent = `Show more (${state.rows.length - state.shown} left)`;
    }

    function player(clip) {
      if (!clip.excerpt) return element("div", {}, element("small", {}, "no excerpt"));
      const [number, seconds, whole] = clip.excerpt;
      const file = `sound/${String(number).padStart(4, "0")}`;
      const length = whole > seconds + 0.01 ? `the first ${seconds} s of ${whole} s` : `${seconds} s`;
      return element("div", {},
        element("img", { class: "spectrogram", loading: "lazy", alt: `Spectrogram, ${length}`, src: `${file}.png` }),
        element("audio", { controls: "", preload: "none", src: `${file}.mp3` }),
        element("small", {}, length));
    }

    function opinion(top, clip, name) {
      const row = element("tr", {}, element("td", { title: name }, name));
      for (let i = 0; i < top.length; i += 2) {
        const classes = clip.given.includes(top[i]) ? "p true" : "p";
        const text = `${percent(top[i + 1])} ${data.tags[top[i]]}`;
        row.append(element("td", { class: classes, share: top[i + 1], title: text }, text));
      }
      return row;
    }

    function audited(clip) {
      if (!clip.audit) return "";
      const [wrong, suggested, listed] = clip.audit;
      const likely = wrong < 0.001 ? "below 0.1 %" : percent(wrong);
      const text = `Label audit: wrong with probability ${likely}`;
      return listed
        ? element("span", { class: "issue" }, `${text}; suggests ${suggested}. `)
        : element("span", {}, `${text}. `);
    }

    function drawn(clip) {
      const right = clip.severity === 0;
      const tags = element("div", { class: "tags" }, `${names(clip.given)} `,
        element("span", { class: right ? "yes" : "no" }, `${right ? "✓" : "→"} ${names(clip.answer)}`));
      const table = element("table", {}, element("tbody", {},
        ...clip.top.map((top, i) => opinion(top, clip, data.members[i]))));
      const facts = element("small", {},
        clip.fold ? `Fold ${clip.fold}. ` : "", clip.verified ? "Verified label. " : "Unverified label. ",
        audited(clip));
      return element("article", { class: "clip" }, player(clip),
        element("div", { class: "what" }, tags, element("div", { class: "path" }, clip.name), table, facts));
    }

    function choose(cell, button) {
      state.cell = cell;
      for (const other of document.querySelectorAll("button[aria-pressed]")) other.removeAttribute("aria-pressed");
      if (button) button.setAttribute("aria-pressed", "true");
      if (cell) $("set").value = cell.set;
      select();
      if (cell) {
        $("clips-title").scrollIntoView({ block: "start" });
        $("clips-title").focus({ preventScroll: true });
      }
    }

    data.sets.forEach((name, i) => $("set").append(element("option", { value: i }, name)));
    data.tags.map((tag, i) => [tag, i]).sort((a, b) => (a[0] < b[0] ? -1 : 1))
      .forEach(([tag, i]) => $("tag").append(element("option", { value: i }, tag)));
    for (const id of ["show", "set", "tag"]) $(id).addEventListener("change", () => choose(null));
    for (const id of ["order", "heard"]) $(id).addEventListener("change", select);
    $("search").addEventListener("input", select);
    $("more").addEventListener("click", showMore);
    for (const button of document.querySelectorAll("button[data-set]")) {
      const of = (key) => Number(button.dataset[key]);
      const cell = button.dataset.kind
        ? { set: of("set"), tag: of("tag"), kind: button.dataset.kind }
        : { set: of("set"), given: of("given"), answer: of("answer") };
      button.addEventListener("click", () => choose(cell, button));
    }
    for (const row of document.querySelectorAll("table[data-opens=tags] tbody tr")) {
      const number = data.tags.indexOf(row.cells[0].textContent);
      if (number < 0) continue;
      const button = element("button", { type: "button", class: "link" }, data.tags[number]);
      button.addEventListener("click", () => {
        $("show").value = "errors";
        $("tag").value = number;
        choose(null);
        $("clips-title").scrollIntoView({ block: "start" });
      });
      row.cells[0].replaceChildren(button);
    }
    $("clips").hidden = false;
    $("no-clips").hidden = true;
    select();
  }

  document.addEventListener("DOMContentLoaded", () => {
    if (window.EARMARK && $("clips")) start(window.EARMARK);
  });
})();
