"""The repository keeps its word: import direction, deps, paths, headers, params.yaml, file map."""

import ast
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from earmark.layout import Layout
from earmark.params import Params, Section
from earmark.params.reading import flattened, read_yaml
from earmark.params.roster import member_name
from earmark.settings import profiles
from tests.source_graph import ROOT, closure, imports_of

# From the bottom to the top: a module imports from its own level and those below it.
LEVELS = [
    "errors layout seeding tags segments containers audio silence splitting scoring ensembling "
    "pages synthesis features",
    "networks",
    "store params edits clips sox engine loading mixing",
    "inputs",
    "corpora audit inference training members evaluation catalogue download weights embedding "
    "results runs paired comparison",
    "tracking profiles validation tagging fusion",
    "fitting analyses",
    "__main__",
]

# No output can depend on them (messages, MLflow), so that a change need not train anything anew.
NEVER_A_DEP = {"earmark/__init__.py", "earmark/errors.py", "earmark/training/tracking.py"}
FOR_MLFLOW_ALONE = {
    "train": {"earmark/reports/figures.py"},
    "finetune": {"earmark/reports/figures.py"},
}


def sources(*folders: str) -> list[Path]:
    return [
        p.relative_to(ROOT) for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))
    ]


LIBRARY = [path for path in sources("earmark") if path != Path("earmark/__init__.py")]
STAGES = [path for path in sources("stages") if path.name != "__init__.py"]


def by_name(path: object) -> str | None:
    return path.as_posix() if isinstance(path, Path) else None


@cache
def dvc_stages() -> dict[str, dict[str, Any]]:
    stages: dict[str, dict[str, Any]] = YAML(typ="safe", pure=True).load(
        (ROOT / "dvc.yaml").read_text()
    )["stages"]
    return stages


def stages_of(module: Path) -> dict[str, dict[str, Any]]:
    command = f"python -m stages.{module.stem}"
    return {
        name: stage
        for name, stage in dvc_stages().items()
        if stage["cmd"] == command or stage["cmd"].startswith(f"{command} ")
    }


def names_of(entries: list[Any]) -> list[str]:
    """Outs, metrics and plots, with options or without."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def outs_of(stage: dict[str, Any]) -> list[str]:
    return [name for kind in ("outs", "metrics", "plots") for name in names_of(stage.get(kind, []))]


def outside_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found - {"earmark", "stages"}


def level_of(path: Path) -> int:
    name = path.parts[1].removesuffix(".py")
    for level, names in enumerate(LEVELS):
        if name in names.split():
            return level
    pytest.fail(f"{path}: give {name} a level in tests/test_truth.py")


@pytest.mark.parametrize("path", LIBRARY, ids=by_name)
def test_a_module_imports_nothing_from_above_itself(path):
    ours = [found for found in imports_of(path) if found != Path("earmark/__init__.py")]
    above = [str(p) for p in ours if p.parts[0] == "stages" or level_of(p) > level_of(path)]
    assert above == []


def test_networks_know_torch_and_nothing_of_ours():
    for path in sources("earmark/networks"):
        assert {p.parts[1] for p in imports_of(path)} <= {"networks", "__init__.py"}, path
        assert outside_imports(path) <= {"torch", *sys.stdlib_module_names}, path


def test_stages_do_not_import_each_other():
    for path in STAGES:
        ours = {p for p in imports_of(path) if p.parts[0] == "stages"}
        assert ours == {Path("stages/__init__.py")}, path


def test_mlflow_is_imported_in_one_place():
    found = [p for p in sources("earmark", "stages") if "mlflow" in outside_imports(p)]
    assert found == [Path("earmark/training/tracking.py")]


def test_the_sox_program_is_run_in_one_place():
    found = []
    for path in sources("earmark", "stages"):
        tree = ast.parse((ROOT / path).read_text())
        words = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
        if words & {"sox", "/usr/bin/sox"} or "sox" in outside_imports(path):
            found.append(path)
    assert found == [Path("earmark/sound/sox.py")]


def test_every_stage_of_dvc_yaml_runs_a_module_and_every_module_is_run():
    run = {name for module in STAGES for name in stages_of(module)}
    assert run == set(dvc_stages())
    assert [str(module) for module in STAGES if not stages_of(module)] == []


@pytest.mark.parametrize("module", STAGES, ids=by_name)
def test_deps_are_the_modules_that_a_stage_imports(module):
    needed = {p.as_posix() for p in closure(module)}
    free = NEVER_A_DEP | FOR_MLFLOW_ALONE.get(module.stem, set())
    for name, stage in stages_of(module).items():
        deps = [dep for dep in stage["deps"] if dep.startswith(("earmark", "stages"))]
        assert len(deps) == len(set(deps)), name
        covered = {dep: set(files_of(dep)) for dep in deps}
        listed = set().union(*covered.values())
        assert sorted(needed - listed - free) == [], f"{name} imports these; add them to its deps"
        strangers = [dep for dep, files in covered.items() if not files & needed]
        assert strangers == [], f"{name} does not import these; take them out of its deps"


def files_of(dep: str) -> list[str]:
    place = ROOT / dep
    assert place.exists(), f"dvc.yaml: dep {dep} is not there"
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    return [path.relative_to(ROOT).as_posix() for path in files]


SAMPLE = {"model": "M", "extractor": "E", "fold": "F", "kind": "K", "corpus": "C"}


def instantiated(template: str) -> str:
    return re.sub(r"\$\{item\.(\w+)\}", lambda found: SAMPLE[found[1]], template)


def test_outs_of_dvc_yaml_are_the_paths_of_the_layout():
    layout = Layout(Path("/"))
    both = member_name("M", "E")
    known = {
        *(layout.demo("C"), layout.clips, layout.decoded, layout.trimmed, layout.augmented),
        *(layout.mixed, layout.audit),
        *(layout.folds, layout.features("K"), layout.embeddings("E", "F"), layout.plan),
        *(layout.ensemble, layout.report),
    }
    for member in ("M", "E", both):
        known |= {layout.model(member, "F"), layout.learning_curve(member, "F")}
    known |= {layout.predictions(member, "F") for member in ("M", both)}
    outs = {Path("/") / instantiated(o) for stage in dvc_stages().values() for o in outs_of(stage)}
    assert known - outs == set()
    assert {out for out in outs - known if out.parent != layout.metrics} == set()


def test_every_data_dep_is_an_out_or_the_one_folder_of_several_outs():
    outs = {o for stage in dvc_stages().values() for o in outs_of(stage)}
    made = {re.sub(r"\$\{.*?\}", "*", out) for out in outs}
    for name, stage in dvc_stages().items():
        for dep in stage["deps"]:
            if dep.startswith(("earmark", "stages", "${corpus.")):
                continue
            generic = re.sub(r"\$\{.*?\}", "*", dep)
            is_made = any(re.fullmatch(one.replace("*", r"[^/]+"), generic) for one in made)
            fans_in = dep in {"data/predictions", "data/training"}
            assert is_made or fans_in, f"{name}: no stage makes {dep}"


def header_of(module: Path) -> dict[str, str]:
    """The lines `Reads: ...` and so on of a stage's docstring, each with what is indented under."""
    text = ast.get_docstring(ast.parse((ROOT / module).read_text())) or ""
    found: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        if start := re.match(r"(Reads|Writes|Params): ", line):
            found[start[1]] = line[start.end() :]
        elif line.startswith("    ") and found:
            found[list(found)[-1]] += f" {line.strip()}"
    return found


@pytest.mark.parametrize("module", STAGES, ids=by_name)
def test_a_stage_is_short_and_its_header_says_what_it_reads_and_writes(module):
    header = header_of(module)
    starts_from_nothing = module.stem in {"plan", "demo"}
    expected = ["Writes", "Params"] if starts_from_nothing else ["Reads", "Writes", "Params"]
    assert list(header) == expected
    assert len((ROOT / module).read_text().splitlines()) <= 160


@pytest.mark.parametrize("module", STAGES, ids=by_name)
def test_the_header_names_every_out_and_dep_of_data(module):
    header = header_of(module)
    for stage in stages_of(module).values():
        for line, paths in (("Reads", stage["deps"]), ("Writes", outs_of(stage))):
            for path in paths:
                if path.startswith(("data/", "models/", "metrics/")):
                    place = Path(path.split("${")[0])
                    # by its whole path, among other files of its folder, or as <kind> of a folder
                    ways = (place.as_posix(), place.name, f"{place.parent.as_posix()}/<")
                    assert any(way in header[line] for way in ways), (line, path)


@pytest.mark.parametrize("module", STAGES, ids=by_name)
def test_the_params_that_a_header_names_are_tracked(module):
    for name, stage in stages_of(module).items():
        tracked = [re.sub(r"\$\{item\.\w+\}", "*", place) for place in stage["params"]]
        for place in header_of(module)["Params"].split(", "):
            generic = re.escape(re.sub(r"<\w+>", "*", place)).replace(r"\*", r"[\w*]+")
            is_tracked = any(re.match(rf"{generic}(\.|$)", one) for one in tracked)
            assert is_tracked, f"{name}: params lack {place}"


# What a property or method of Params reads. Workers change no result, and the working rate comes
# with the stored features that models are trained on.
READS = {"fold_names": "folds", "recipe": "model", "entry": "models", "members": "models"}
READS["rows_read"] = "features"
UNTRACKED = {"runtime.workers"}
REFUSES_ONLY = {"decode": {"cv"}}
COMES_WITH_THE_DATA = {"train": {"decode.sample_rate"}, "finetune": {"decode.sample_rate"}}


@pytest.mark.parametrize("module", STAGES, ids=by_name)
def test_the_params_that_a_stage_reads_are_tracked(module):
    read = params_read(module) - UNTRACKED - COMES_WITH_THE_DATA.get(module.stem, set())
    read -= REFUSES_ONLY.get(module.stem, set())
    for name, stage in stages_of(module).items():
        tracked = [place.split(".${")[0] for place in stage["params"]]
        for place in read:
            near = [t for t in tracked if f"{place}.".startswith(f"{t}.") or t.startswith(place)]
            assert near, f"{name} reads {place}, which its params in dvc.yaml lack"


def params_read(module: Path) -> set[str]:
    """Places such as `decode.sample_rate` that a stage reads as `params.decode.sample_rate`."""
    found = set()
    reads = READS | ({"recipe": "finetune"} if module.stem == "finetune" else {})
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        chain = re.match(r"(?:s\.)?params\.(\w+)(?:\.(\w+))?$", ast.unparse(node))
        if not isinstance(node, ast.Attribute) or chain is None:
            continue
        section = reads.get(chain[1], chain[1])
        annotation = Params.model_fields[section].annotation
        is_section = isinstance(annotation, type) and issubclass(annotation, Section)
        key = chain[2] if is_section and chain[2] in annotation.model_fields else None
        found.add(f"{section}.{key}" if key else section)
    whole = {place.split(".")[0] for place in found if "." in place}  # the chain's own beginning
    return found - whole


def test_a_demo_params_yaml_has_the_keys_that_the_profile_writes(tmp_path):
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    layout = Layout(tmp_path)
    profiles.use(layout, "demo", root="", table="", cwd=tmp_path)
    shipped, fresh = read_yaml(ROOT / "params.yaml"), read_yaml(layout.params)
    if shipped["corpus"]["name"] == "demo":  # users put other profiles in its place
        assert flattened(shipped).keys() == flattened(fresh).keys()


def tracked_files() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git repository")
    return [Path(name) for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_readme_maps_every_module_and_folder():
    readme = (ROOT / "README.md").read_text()
    assert "\n## Files\n" in readme
    section = readme.split("\n## Files\n")[1].split("\n## ")[0]
    modules = [*(ROOT / "earmark").glob("*.py"), *(ROOT / "stages").glob("*.py")]
    packages = [path.parent for path in (ROOT / "earmark").glob("*/__init__.py")]
    folders = {path.parts[0] for path in tracked_files() if len(path.parts) > 1}
    names = {path.name for path in modules if path.name != "__init__.py"}
    names |= {f"{path.name}/" for path in packages} | {f"{name}/" for name in folders}
    lacking = [n for n in sorted(names) if not re.search(rf"(?<![\w.]){re.escape(n)}", section)]
    assert lacking == []


def test_no_tracked_file_is_large_or_names_a_home():
    home = re.compile(rb"/(?:home|Users|root)/\w")
    for path in tracked_files():
        content = (ROOT / path).read_bytes()
        assert len(content) <= 1_000_000, f"{path}: {len(content)} bytes"
        assert not home.search(content), f"{path}: names a path of one machine"
