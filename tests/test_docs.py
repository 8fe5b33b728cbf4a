"""The documents keep their word: names and paths in them exist, entry points say what they take."""

import ast
import doctest
import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from earmark.__main__ import app
from earmark.params.explanations import RENAMED, RENAMED_VALUES
from tests.source_graph import ROOT, tree_of

DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
ARRAYS = re.compile(r"NDArray|Tensor|Floats|Ints|Bools|Rows|Int16|Float32|Waveform")


def entry_points() -> dict[str, str]:
    """module:name -> why it has no example; "" where it must have one."""
    lines = (ROOT / "docs/api.txt").read_text().splitlines()
    pairs = [line.partition("  # ") for line in lines if line and not line.startswith("#")]
    return {name.strip(): reason for name, _, reason in pairs}


def found(entry: str) -> Any:
    module, name = entry.split(":")
    return getattr(importlib.import_module(module), name)


def documented_parts(entry: str) -> list[Any]:
    """A function itself; of a class its public methods that it defines."""
    thing = found(entry)
    if not inspect.isclass(thing):
        return [thing]
    members = {name: value for name, value in vars(thing).items() if not name.startswith("_")}
    functions = [getattr(value, "__func__", value) for value in members.values()]
    return [inspect.unwrap(one) for one in functions if inspect.isfunction(inspect.unwrap(one))]


@pytest.mark.parametrize("entry", entry_points())
def test_an_entry_point_is_described_with_its_shapes_and_errors(entry):
    assert inspect.getdoc(found(entry)), f"{entry}: has no docstring"
    for part in documented_parts(entry):
        text = inspect.getdoc(part) or ""
        module_text = importlib.import_module(part.__module__).__doc__ or ""
        name = f"{entry}: {part.__qualname__}"
        assert text or inspect.isclass(found(entry)), f"{name} has no docstring"
        if any(isinstance(node, ast.Raise) for node in ast.walk(source_of(part))):
            assert re.search(r"\b[Rr]aises?\b", text), f"{name} does not say what it raises"
        annotations = " ".join(map(str, inspect.get_annotations(part).values()))
        if ARRAYS.search(annotations):
            is_method = inspect.isclass(found(entry))  # may leave its shapes to the module's legend
            assert is_method or re.search(r"\([A-Z][^)]*\)", text), f"{name} names no shape"
            assert "Shapes:" in module_text or "(T,)" in text, f"{name}: no legend of shapes"


def source_of(function: Any) -> ast.AST:
    lines = inspect.getsource(function)
    indent = len(lines) - len(lines.lstrip())
    return ast.parse("\n".join(line[indent:] for line in lines.splitlines()))


@pytest.mark.parametrize("entry", entry_points())
def test_an_entry_point_names_every_argument(entry):
    thing = found(entry)
    if inspect.isclass(thing) and not hasattr(thing, "__dataclass_fields__"):
        thing = thing.__init__
    text = f"{inspect.getdoc(found(entry))} {inspect.getdoc(thing)}"
    names = set(inspect.signature(thing).parameters) - {"self", "params", "layout"}
    lacking = [n for n in sorted(names) if not re.search(rf"\b{n.rstrip('_')}\b", text)]
    assert lacking == [], f"{entry}: the docstring does not say what {', '.join(lacking)} is"


@pytest.mark.parametrize("entry", entry_points())
def test_an_entry_point_has_an_example_or_a_reason_for_none(entry):
    texts = [inspect.getdoc(found(entry)) or ""]
    texts += [inspect.getdoc(part) or "" for part in documented_parts(entry)]
    has_example = any(">>>" in text for text in texts)
    reason = entry_points()[entry]
    assert has_example != bool(reason), "an example, or the reason in docs/api.txt: one of the two"


@pytest.mark.parametrize("module", sorted({entry.split(":")[0] for entry in entry_points()}))
def test_the_examples_of_a_module_run(module):
    outcome = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0


@cache
def names_defined(path: Path) -> set[str]:
    """Names that a module's top level binds."""
    names: set[str] = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def is_there(dotted: str) -> bool:
    """Whether `earmark.package.module.name`, or a part of it that is a module, is there."""
    parts = dotted.split(".")
    for path in (Path(*parts).with_suffix(".py"), Path(*parts, "__init__.py")):
        if (ROOT / path).is_file():
            return True
    home = Path(*parts[:-1])
    homes = [home.with_suffix(".py"), home / "__init__.py"]
    return any(parts[-1] in names_defined(one) for one in homes if (ROOT / one).is_file())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_names_is_there(document):
    text = (ROOT / document).read_text()
    dotted = re.findall(r"`(earmark(?:\.\w+)+)`", text)
    assert [name for name in dotted if not is_there(name)] == []
    ours = r"`((?:earmark|stages|tests|docs|profiles|extensions|benchmarks|\.ci)/[\w./]*)`"
    assert [path for path in re.findall(ours, text) if not made_or_there(path)] == []
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / document).parent.joinpath(link).exists()] == []


def made_or_there(path: str) -> bool:
    return path.startswith("docs/api/") or (ROOT / path).exists()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_targets_that_a_document_names_exist(document):
    text = (ROOT / document).read_text()
    groups = {group.name for group in app.registered_groups}
    commands = {c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands}
    named = set(re.findall(r"python -m earmark (\w[\w-]*)", text))
    assert named - commands - groups == set()
    modules = re.findall(r"python -m ((?:benchmarks|experiments|stages)[.\w]*)", text)
    assert [m for m in modules if not (ROOT / m.replace(".", "/")).with_suffix(".py").exists()
            and not (ROOT / m / "__main__.py").exists()] == []  # fmt: skip
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make (\w+)`|^    \$? ?make (\w+)", text)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }


@pytest.mark.parametrize("document", DOCUMENTS)
def test_profiles_that_a_document_names_exist(document):
    named = re.findall(r"profile use (\w+)", (ROOT / document).read_text())
    known = {path.stem for path in ROOT.glob("profiles/*.yaml")} | {"NAME"}
    assert [name for name in named if name not in known] == []


def test_the_changelog_names_every_renamed_key_and_value():
    text = (ROOT / "CHANGELOG.md").read_text()
    for old, new in RENAMED.items():
        assert f"| `{old}` | `{new}` |" in text
    for key, values in RENAMED_VALUES.items():
        assert f"`{key}` |" in text or f".{key}` |" in text
        assert [name for pair in values.items() for name in pair if f"`{name}`" not in text] == []


@pytest.mark.parametrize("folder", ["data", "models"])
def test_the_readme_of_artifacts_names_what_the_layout_writes_there(folder):
    text = (ROOT / folder / "README.md").read_text()
    dvc_yaml = (ROOT / "dvc.yaml").read_text()
    outs = set(re.findall(rf"^      - {folder}/([\w.]+)", dvc_yaml, re.MULTILINE))
    assert [out for out in sorted(outs) if f"`{out}" not in text] == []
