"""Digests of code: what changes them, and what does not."""

import json
from pathlib import Path

import pytest

from earmark.code_digests import (
    Code,
    check,
    code_keys,
    explain,
    refuse_absent,
    version_problems,
)
from earmark.code_digests.syntax import parse_source
from earmark.code_digests.versions import not_installed
from earmark.errors import UserError
from earmark.sound import sox

VERSIONS = {"torch": "2.11.0", "numpy": "2.4.6", "sox": "14.4.2"}

OTHERS = ["demo", "decode", "trim", "split", "class_mixing", "features", "finetune", "embed"]
OTHERS += ["predict", "plan", "ensemble", "evaluate", "audit_sound", "audit", "student", "timeline"]
OTHERS += ["check_labels", "decide_labels"]

TREE = {
    "earmark/__init__.py": '"""The library."""\n',
    "earmark/errors.py": "class UserError(Exception): ...\n",
    "earmark/store.py": "import numpy as np\n\ndef write(x):\n    return np.asarray(x)\n",
    "earmark/late.py": "LATE = 1\n",
    "earmark/typed.py": "TYPED = 1\n",
    "earmark/networks/__init__.py": """
from importlib import import_module
NETWORKS: dict[str, str] = {
    "small": "earmark.networks.small:Small",
    "large": "earmark.networks.large:Large",
    "twin": "earmark.networks.small:Twin",
}

def find(name):
    module, attribute = NETWORKS[name].split(":")
    return getattr(import_module(module), attribute)
""",
    "earmark/networks/layers.py": "import torch\n\nclass Network: ...\n",
    "earmark/networks/small.py": "from .layers import Network\n\nclass Small(Network): ...\n",
    "earmark/networks/large.py": "from earmark.networks import layers\n\nclass Large: ...\n",
    "earmark/features/__init__.py": 'FEATURE_TYPES = {"logmel": "earmark.features.logmel:Mel"}\n',
    "earmark/features/logmel.py": "class Mel: ...\n",
    "earmark/corpora/__init__.py": "",
    "earmark/corpora/adapters/__init__.py": 'ADAPTERS = {"esc": "earmark.corpora.adapters.esc:E"}',
    "earmark/corpora/adapters/esc.py": "E = 1\n",
    "earmark/sound/__init__.py": "",
    "earmark/sound/sox.py": "import subprocess\n",
    "stages/__init__.py": "from earmark.late import LATE\n",
    "stages/train.py": """
from typing import TYPE_CHECKING
import earmark.networks
from earmark import store
from earmark.errors import UserError
from stages import stage
if TYPE_CHECKING:
    from earmark.typed import TYPED

def run(name: str) -> None:
    return earmark.networks.find(name)
""",
    "stages/augment.py": "from earmark.sound import sox\n",
    **dict.fromkeys((f"stages/{name}.py" for name in OTHERS), "from earmark import store\n"),
}
PARAMS = {
    "extensions": "extensions",
    "corpus": {"adapter": "esc"},
    "augment": {"tempo": {}, "pitch": {}},
    "features": {"logmel": {"type": "logmel"}},
    "fusion": {},
    "extractors": {},
    "models": {
        "logmel": {"one": {"network": {"name": "small"}}, "two": {"network": {"name": "large"}}}
    },
    "label_rounds": {"feature": "logmel", "model": "none"},
}


@pytest.fixture
def root(tmp_path) -> Path:
    for path, text in TREE.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def digest(text: str) -> str:
    return parse_source(text.encode(), "one.py").digest


def keys(root: Path, params=PARAMS, **versions: str):
    return code_keys(root, params, version_of=lambda name: {**VERSIONS, **versions}[name])


def stale(before, after) -> set[str]:
    """The keys whose digests differ, as stage or stage.name."""
    found = set()
    for stage, value in after.items():
        if stage in ("modules", "versions") or value == before.get(stage):
            continue
        named = value if isinstance(value, dict) else {}
        old = before[stage] if isinstance(value, dict) else {}
        found |= {f"{stage}.{name}" for name in named if named[name] != old.get(name)} or {stage}
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1\n", "# why\nx = 1  # what\n"),
        ("def f(x): return x\n", "def f(x: int) -> int:\n    'Doc.'\n\n    return x\n"),
        ("def f(): pass\n", "def f():\n    '''Doc.'''\n"),
        ("class A:\n    pass\n", "class A:\n    '''Doc.'''\n"),
        ("x = 1\n", "x: int = 1\n"),
        ("class A:\n    x: int\n    y: int = 0\n", "class A:\n    x: float\n    y: 'B' = 0\n"),
        ("x = 'a'\n", 'x = ("a")\n'),
        ("x = 1\n", "from typing import Any\nfrom collections.abc import Iterator\nx = 1\n"),
        ("x = 1\n", "if TYPE_CHECKING:\n    import a\nx = 1\n"),
        ("def f(*a, **k): ...\n", "def f(*a: int, **k: str): ...\n"),
    ],
)
def test_the_way_code_is_written_leaves_its_digest(before, after):
    assert digest(before) == digest(after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1\n", "x = 2\n"),
        ("x = 1\n", "x = True\n"),
        ("x = 1\n", "x = 1.0\n"),
        ("x = 'a b'\n", "x = 'a', 'b'\n"),
        ("def f(x): return x\n", "def f(x): return None\n"),
        ("def f(x): return None\n", "def f(x): return\n"),
        ("def f(x=1, *, y): ...\n", "def f(x, *, y=1): ...\n"),
        ("def f(*, x=1, y): ...\n", "def f(*, x, y=1): ...\n"),
        ("class A:\n    x: int\n    y: int\n", "class A:\n    y: int\n    x: int\n"),
        ("class A:\n    x: int = 0\n", "class A:\n    x = 0\n"),
        ("class A:\n    x: int = 0\n", "class A:\n    x: ClassVar[int] = 0\n"),
        ("if a:\n    b()\nc()\n", "if a:\n    b()\n    c()\n"),
        ("x = {**a, 'b': 1}\n", "x = {'b': 1, **a}\n"),
        ("x = a[1:]\n", "x = a[:1]\n"),
        ("from .a import b\n", "from ..a import b\n"),
        ("for a in b:\n    pass\nelse:\n    c()\n", "for a in b:\n    c()\n"),
        ("f'{a}'\n", "f'{a!r}'\n"),
    ],
)
def test_what_code_computes_changes_its_digest(before, after):
    assert digest(before) != digest(after)


def test_a_digest_stays_the_same_on_every_python():
    text = "def f(x: int, *, y=None):\n    return {'a': [x, -1.5, b'c'], **y} if x else f'{x:>3}'\n"
    assert digest(text) == "aa964024a59ad8e9"


def test_imports_are_followed_into_functions_and_through_packages(root):
    (root / "stages/train.py").write_text("def run():\n    import earmark.networks.large as big\n")
    found = Code(root, PARAMS, excluded={}).closure("stages/train.py")
    assert found == {
        *("stages/train.py", "earmark/__init__.py", "earmark/networks/__init__.py"),
        *("earmark/networks/large.py", "earmark/networks/layers.py"),
    }


def test_what_a_module_reads_beside_it_counts_as_imported(root):
    """Templates of a page: a change of one makes stale whatever uses the module, and no other."""
    pages, template = root / "earmark/pages", root / "earmark/pages/templates/page.html"
    template.parent.mkdir(parents=True)
    template.write_bytes(b"<p>{{ a }}</p>\xff")
    (pages / "__init__.py").write_text("")
    (pages / "one.py").write_text("from importlib.resources import files\n")
    (pages / "__pycache__").mkdir()
    (pages / "__pycache__/one.pyc").write_bytes(b"1")
    (pages / ".page.html.swp").write_bytes(b"1")
    (root / "stages/evaluate.py").write_text("from earmark.pages import one\n")
    before = keys(root)
    read = {path for path in before["modules"] if path.startswith("earmark/pages/")}
    assert read == {f"earmark/pages/{p}" for p in ("__init__.py", "one.py", "templates/page.html")}
    template.write_bytes(b"<p>{{ a }} </p>\xff")
    assert stale(before, keys(root)) == {"evaluate"}
    (pages / "page.css").write_text("p {}")  # a new file
    assert "earmark/pages/page.css" in keys(root)["modules"]
    (pages / "one.py").write_text("import importlib\n")
    assert "earmark/pages/templates/page.html" not in keys(root)["modules"]


def test_excluded_modules_are_neither_digested_nor_followed(root):
    found = Code(root, PARAMS).closure("stages/train.py")
    assert found == {"stages/train.py", "earmark/networks/__init__.py", "earmark/store.py"}


def test_a_network_enters_the_keys_of_the_models_that_name_it(root):
    before = keys(root)
    (root / "earmark/networks/large.py").write_text("class Large:\n    x = 1\n")
    assert stale(before, keys(root)) == {"train.two", "predict.two", "timeline"}


def test_a_new_entry_of_a_registry_makes_nothing_stale(root):
    before = keys(root)
    path = root / "earmark/networks/__init__.py"
    path.write_text(path.read_text().replace("{\n", '{\n    "new": "earmark.networks.new:New",\n'))
    assert keys(root) == before


def test_another_class_under_a_name_makes_its_models_stale(root):
    before = keys(root)
    path = root / "earmark/networks/__init__.py"
    path.write_text(path.read_text().replace("small:Small", "small:Twin"))
    assert stale(before, keys(root)) == {"train.one", "predict.one", "timeline"}


def test_a_users_own_network_is_tracked(root):
    (root / "extensions").mkdir()
    own = root / "extensions/own.py"
    own.write_text("from earmark.networks import layers\n")
    models = {"logmel": {"one": {"network": {"name": "extensions.own:Net"}}}}
    params = PARAMS | {"models": models}
    before = keys(root, params)
    assert "extensions/own.py" in before["modules"]
    own.write_text("X = 1\n")
    assert stale(before, keys(root, params)) == {"train.one", "predict.one", "timeline"}


def test_a_network_whose_module_is_not_there_is_refused(root):
    models = {"logmel": {"one": {"network": {"name": "elsewhere.own:Net"}}}}
    with pytest.raises(UserError, match=r"train.one: no module elsewhere.own"):
        keys(root, PARAMS | {"models": models})


def test_an_unknown_name_is_refused_with_those_there_are(root):
    with pytest.raises(UserError, match="no 'nope'; it has esc"):
        keys(root, PARAMS | {"corpus": {"adapter": "nope"}})


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ({"torch": "3"}, {"train.one", "predict.one", "train.two", "predict.two", "timeline"}),
        ({"sox": "15"}, {"augment.logmel"}),
    ],
)
def test_an_upgrade_makes_stale_what_uses_it(root, version, expected):
    assert stale(keys(root), keys(root, **version)) == expected


def test_no_digest_hangs_on_the_python_that_reads_the_code(root):
    assert keys(root)["versions"].keys() == {"numpy", "sox", "torch"}


def test_a_code_json_of_when_python_counted_names_no_version_of_it(root):
    write(root, {"versions": {"python": "3.11", "torch": "2.11.0", "sox": "14"}})
    (line,) = version_problems(root, version_of=version_of)
    assert line.startswith("code.json: written with sox 14, but 14.4.2 is here")


def write(root: Path, content) -> None:
    (root / "code.json").write_text(json.dumps(content))


def version_of(name: str) -> str:
    return VERSIONS[name]


def test_a_stage_runs_with_the_code_that_code_json_names(root):
    content = keys(root)
    write(root, content)
    digest = check(root, PARAMS, "train", "one", version_of=version_of)
    assert digest == content["train"]["one"]
    digests = check(root, PARAMS, "augment", version_of=version_of)
    assert digests.split() == list(content["augment"].values())


def test_a_stage_refuses_to_run_changed_code_in_one_line(root):
    write(root, keys(root))
    (root / "earmark/networks/small.py").write_text("class Small: ...\n")
    check(root, PARAMS, "train", "two", version_of=version_of)
    with pytest.raises(
        UserError, match=r"train.one changed .*small.py.*run `dvc repro`"
    ) as refused:
        check(root, PARAMS, "train", "one", version_of=version_of)
    assert "\n" not in str(refused.value)


def test_a_stage_refuses_another_version_with_the_command_that_helps(root):
    write(root, keys(root, torch="2.10.0"))
    with pytest.raises(UserError, match=r"torch 2.10.0 -> 2.11.0.*--force --single-item code"):
        check(root, PARAMS, "train", "one", version_of=version_of)


def without_sox(name: str) -> str:
    return "absent" if name == "sox" else VERSIONS[name]


def test_a_program_that_is_absent_is_to_be_installed_and_never_recorded(root, monkeypatch):
    write(root, keys(root))
    assert version_problems(root, version_of=without_sox) == [not_installed("sox")]
    with pytest.raises(UserError, match=r"^the program sox is not installed; install it"):
        check(root, PARAMS, "augment", version_of=without_sox)
    check(root, PARAMS, "trim", version_of=without_sox)
    with pytest.raises(UserError, match=r"^the program sox is not installed"):
        refuse_absent(keys(root, sox="absent")["versions"])
    write(root, keys(root, sox="absent"))
    (line,) = version_problems(root, version_of=version_of)
    assert line.startswith("code.json: written with sox absent, but 14.4.2 is here; run `dvc repro")
    monkeypatch.setenv("PATH", "")
    sox.require.cache_clear()
    with pytest.raises(UserError, match=not_installed("sox")):
        sox.require()


def test_without_code_json_a_stage_refuses(root):
    with pytest.raises(UserError, match=r"code\.json is not there"):
        check(root, PARAMS, "trim", version_of=version_of)


def test_every_key_is_explained_in_a_line_and_stale_ones_are_marked(root):
    old = keys(root)
    (root / "earmark/sound/sox.py").write_text("X = 1\n")
    lines = explain(root, PARAMS, old=old, version_of=version_of)
    assert [line.split()[0] for line in lines if "stale" in line] == ["augment.logmel"]


@pytest.mark.parametrize("name", ["train.one", "train_logmel@one-0"])
def test_a_stale_key_names_what_changed_came_and_went(root, name):
    old = keys(root, torch="2.10.0")
    (root / "earmark/new.py").write_text("")
    (root / "earmark/networks/small.py").write_text("import earmark.new\nimport torch\n")
    (root / "earmark/networks/layers.py").unlink()
    (root / "earmark/networks/large.py").write_text("")
    lines = explain(root, PARAMS, name, old=old, version_of=version_of)
    assert lines[0].startswith("train.one  ")
    assert lines[1].startswith("  7 modules; numpy 2.4.6, torch")
    assert lines[2:6] == [
        "  changed: earmark/networks/small.py",
        "  new: earmark/new.py",
        "  gone: earmark/networks/layers.py",
        "  version: torch 2.10.0 -> 2.11.0",
    ]
    modules = [line.split()[1] for line in lines[6:]]
    assert len(modules) == 7
    assert modules == sorted(modules)
    assert "earmark/networks/small.py" in modules


def test_an_unknown_key_is_refused_with_those_there_are(root):
    with pytest.raises(UserError, match=r"no stage 'nope'; there are demo, trim"):
        explain(root, PARAMS, "nope", old={}, version_of=version_of)
    with pytest.raises(UserError, match=r"no key train.nope"):
        explain(root, PARAMS, "train.nope", old={}, version_of=version_of)


def test_a_stage_of_no_entries_has_nothing_to_check(root):
    params = {**PARAMS, "augment": {}}
    write(root, code_keys(root, params, version_of=version_of))
    assert check(root, params, "augment", version_of=version_of) == ""


@pytest.mark.parametrize("content", [None, "{", "[]", "\xff"])
def test_a_missing_or_broken_code_json_is_named(root, content):
    if content:
        (root / "code.json").write_text(content, encoding="latin-1")
    assert version_problems(root, version_of=version_of) == []
    with pytest.raises(UserError, match=r"code\.json is not there, or cannot be read"):
        check(root, PARAMS, "train", "one", version_of=version_of)
