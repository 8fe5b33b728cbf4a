"""Write the digests of the code that can reach each output: what the other stages depend on.

Reads: the sources in earmark/, stages/ and the user's own folder `extensions`; requirements.txt
Writes: code.json
Params: augment, corpus.adapter, extensions, extractors, features, fusion, models
"""

import json
from typing import Any

from earmark.code_digests import CODE_JSON, code_keys, refuse_absent
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params.reading import read_yaml
from earmark.settings.dvc_files import graph_problems
from earmark.whole_files import whole_file
from stages import stage


def run(layout: Layout) -> dict[str, Any]:
    if cut := graph_problems(layout):
        raise UserError(*cut)
    content = code_keys(layout.root, read_yaml(layout.params))
    refuse_absent(content["versions"])
    with whole_file(layout.root / CODE_JSON) as part:
        part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    return content


if __name__ == "__main__":
    with stage("code") as s:
        content = run(s.layout)
        s.log.info("code: %d modules behind the results", len(content["modules"]))
