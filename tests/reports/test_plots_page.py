"""`dvc plots show` and `diff` draw their page without a network."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
from dvc_render.html import HTML
from dvc_render.vega import VegaRenderer
from ruamel.yaml import YAML

from tests.source_graph import ROOT

PLOTS = ROOT / ".dvc" / "plots"
RUN = """
const fs = require("fs"), vm = require("vm"), drawn = {};
const html = fs.readFileSync(0, "utf8");
const code = [...html.matchAll(/<script[^>]*>([^]*?)<\\/script>/g)].map((m) => m[1]).join("\\n");
vm.runInNewContext(code, {document: {querySelector: (id) => (drawn[id] = {})}});
console.log(JSON.stringify(Object.values(drawn).map((one) => one.innerHTML)));
"""


def page(template: str, rows: list[dict], x: str, y: str) -> str:
    """What DVC makes of rows by one of our templates."""
    properties: dict[str, Any] = {"template": template, "template_dir": str(PLOTS), "x": x, "y": y}
    properties |= {"revs_with_datapoints": sorted({row["rev"] for row in rows})}
    html = HTML((PLOTS / "page.html").read_text())
    renderer = VegaRenderer(rows, "plot", **properties)
    return html.with_scripts(renderer.SCRIPTS).with_element(renderer.generate_html()).embed()


def drawn(html: str) -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    done = subprocess.run([node, "-e", RUN], input=html, capture_output=True, text=True, check=True)
    (picture,) = json.loads(done.stdout)
    return str(picture)


def curves(*revs: str) -> list[dict]:
    return [
        {
            "rev": rev,
            "model": model,
            "fold": fold,
            "epoch": epoch,
            "map_at_3": epoch / 4 + fold / 10,
        }
        for rev in revs
        for model in ("a", "b")
        for fold in (0, 1)
        for epoch in (1, 2, 3)
    ]


def test_dvc_uses_our_page_and_our_templates_which_load_nothing():
    assert "html_template = plots/page.html" in (ROOT / ".dvc" / "config").read_text()
    content = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
    templates = {values["template"] for plot in content["plots"] for values in plot.values()}
    assert templates == {path.stem for path in PLOTS.glob("*.json")}
    html = page("curves", curves("main"), "epoch", "map_at_3")
    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)", html) == []


def test_the_confusion_matrix_has_the_axes_of_the_report():
    content = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
    (matrix,) = [v for plot in content["plots"] for k, v in plot.items() if "confusion" in k]
    assert (matrix["x"], matrix["y"]) == ("predicted", "actual")  # as in confusion_figure


def test_curves_are_the_mean_over_folds_with_a_colour_for_each_revision():
    picture = drawn(page("curves", curves("main", "new"), "epoch", "map_at_3"))
    assert picture.count("<svg") == 2  # a panel for each model
    lines = re.findall(r'points="([^"]+)"[^>]*stroke="([^"]+)"', picture)
    assert len(lines) == 4
    assert len({colour for _, colour in lines}) == 2
    assert {len(points.split()) for points, _ in lines} == {3}


def test_cells_are_counted_and_bars_are_as_long_as_their_values():
    rows = [{"rev": "main", "predicted": p, "actual": a} for p, a in ("xx", "xy", "xy", "yy")]
    picture = drawn(page("counts", rows, "predicted", "actual"))
    counts = re.findall(r'text-anchor="middle"[^>]*>(\d+)<', picture)
    assert counts == ["1", "2", "1"]  # row by row of the actual tags
    f1 = {"x": 0.5, "y": 1.0}
    bars: list[dict[str, Any]] = [{"rev": "main", "tag": tag, "f1": f1[tag]} for tag in f1]
    picture = drawn(page("bars", bars, "f1", "tag"))
    assert re.findall(r'width="(\d+)" fill', picture) == ["150", "300"]
