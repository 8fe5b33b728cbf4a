"""Every adapter: its entry, its protocol, and a made-up corpus of its layout through the stages."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.corpora.adapters import ADAPTERS, Adapter, find
from earmark.corpora.clips import SCHEMA
from earmark.errors import UserError
from earmark.labels import is_multi_label, tags_of
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import load_params
from earmark.records import read_json, read_table
from earmark.settings import profiles
from earmark.settings.corpus_validation import corpus_problems
from earmark.settings.validation import option_problems
from earmark.store import Store
from stages import decode, split
from tests.corpora.corpus_trees import TREES
from tests.source_graph import ROOT

PUBLISHED = [name for name in ADAPTERS if name not in ("folder", "dcase2017_task4_development")]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder for each layout; several adapters may share a layout."""
    roots = {make: tmp_path_factory.mktemp(make.__name__) / "tree" for make in TREES.values()}
    for make, root in roots.items():
        root.mkdir()
        make(root)
    return {name: roots[make] for name, make in TREES.items()}


def params_for(name: str, layout: Layout, root: Path) -> Params:
    if not (layout.root / "profiles").exists():
        layout.root.mkdir(exist_ok=True)
        (layout.root / "profiles").symlink_to(ROOT / "profiles")
    profiles.use(layout, name, root=str(root), table="", cwd=layout.root)
    return load_params(layout.params)


def test_every_adapter_is_tested_on_a_tree():
    assert TREES.keys() == ADAPTERS.keys()


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_entry_of_the_registry_is_an_adapter(name):
    assert isinstance(find(name), Adapter)


def test_the_registry_can_be_read_without_importing_it():
    source = (ROOT / "earmark" / "corpora" / "adapters" / "__init__.py").read_text()
    (value,) = [
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "ADAPTERS"
    ]
    assert value is not None
    assert ast.literal_eval(value) == ADAPTERS


def test_finding_an_adapter_imports_no_other():
    lines = [
        "import sys",
        "from earmark.corpora.adapters import find",
        "find('esc50')",
        "print(*sorted(name for name in sys.modules if 'corpora.adapters.' in name))",
    ]
    command = [sys.executable, "-c", "; ".join(lines)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    imported = {name.rpartition(".")[2] for name in printed.split()}
    assert imported == {"adapter", "esc", "tables"}


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_table_has_the_schema_and_sound_labels(trees, name):
    clips = find(name).read_clips(trees[name], "")
    SCHEMA.validate(clips)
    for tag in tags_of(clips["label"]):
        assert not set(tag) & set(" ;\t"), tag


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_profile_follows_the_protocol_of_its_adapter(trees, tmp_path, name):
    adapter = find(name)
    params = params_for(name, Layout(tmp_path / "here"), trees[name])
    assert params.corpus.adapter == params.corpus.name == name
    assert (params.cv.scheme, params.cv.k) == (adapter.scheme, adapter.k)
    assert params.folds == list(adapter.folds)
    assert params.evaluate.metric == adapter.metric
    assert params.model.monitor == adapter.metric


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in ADAPTERS if name != "dcase2017_task4_development"]
)
def test_a_corpus_is_valid_and_goes_through_decode_and_split(trees, tmp_path, name):
    layout = Layout(tmp_path / "here")
    params = params_for(name, layout, trees[name])
    assert corpus_problems(params, layout) == []
    counts = decode.run(params, layout)
    clips = find(name).read_clips(trees[name], "")
    assert (counts["clips"], counts["quarantined"]) == (len(clips), 0)
    assert list(Store.open(layout.decoded).index["clip"]) == list(clips["clip"])
    split.run(params, layout)
    folds = read_table(layout.folds)
    for fold in params.fold_names:
        splits = folds.loc[folds["split"] == "train", f"fold_{fold}"]
        assert {"train", "validation"} <= set(splits)
    summary = read_json(layout.metrics / "split.json")
    assert summary["folds_are_official"] == (find(name).scheme == "official")
    assert summary["train_clips"] + summary["test_clips"] == len(clips)


@pytest.mark.parametrize("name", [name for name in ADAPTERS if name != "folder"])
def test_a_wrong_layout_says_what_was_expected_where(tmp_path, name):
    with pytest.raises(
        UserError, match=rf"^corpus\.root: {tmp_path} has no .*; set it to the folder"
    ):
        find(name).read_clips(tmp_path, "")
    gone = tmp_path / "gone"
    with pytest.raises(UserError, match=r"^corpus\.root: .*gone is not a folder; set it"):
        find(name).read_clips(gone, "")
    with pytest.raises(UserError, match=r"^corpus\.table: .* has its own tables; set it to ''"):
        find(name).read_clips(tmp_path, "labels.csv")


@pytest.mark.parametrize(
    ("name", "several"),
    [("magnatagatune", True), ("dcase2017_task4", True), ("esc50", False), ("msos", False)],
)
def test_labels_tell_whether_clips_have_several_tags(trees, name, several):
    assert is_multi_label(find(name).read_clips(trees[name], "")["label"]) == several


def test_an_unknown_adapter_is_told_the_nearest_name(trees, tmp_path):
    layout = Layout(tmp_path / "here")
    params = params_for("esc50", layout, trees["esc50"])
    text = layout.params.read_text().replace("adapter: esc50", "adapter: esc_50")
    layout.params.write_text(text)
    params = load_params(layout.params)
    problem = "params.yaml: corpus.adapter: no adapter 'esc_50'; did you mean esc50?"
    assert problem in option_problems(params)
    assert corpus_problems(params, layout) == []  # reported once
    with pytest.raises(UserError, match="did you mean esc50"):
        decode.run(params, layout)
    with pytest.raises(UserError, match=r"no adapter 'zzz'; choose one of folder, fsdkaggle2018"):
        find("zzz")


def changed(params: Params, **evaluate: object) -> Params:
    values = params.model_dump()
    values["evaluate"] |= evaluate
    return Params.model_validate(values)


def test_a_metric_that_does_not_fit_the_corpus_is_refused_with_those_that_fit(trees, tmp_path):
    layout = Layout(tmp_path / "here")
    params = params_for("magnatagatune", layout, trees["magnatagatune"])
    (problem,) = corpus_problems(changed(params, metric="accuracy"), layout)
    assert "evaluate.metric: accuracy does not fit a corpus with several tags per clip" in problem
    assert "roc_auc" in problem
    params = params_for("esc50", layout, trees["esc50"])
    (problem,) = corpus_problems(changed(params, metric="roc_auc"), layout)
    assert "roc_auc does not fit a corpus with one tag per clip; set one of map_at_3" in problem


def test_grouped_labels_must_be_tags_of_the_corpus(trees, tmp_path):
    layout = Layout(tmp_path / "here")
    params = params_for("speech_commands_31", layout, trees["speech_commands_31"])
    groups = {"unknown": [*params.evaluate.label_groups["unknown"], "backward"]}
    (problem,) = corpus_problems(changed(params, label_groups=groups), layout)
    assert "label_groups.unknown: backward is no tag of the corpus" in problem
