"""The repository keeps its word: import direction, stages, params, outs, headers, file map."""

import ast
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from earmark.code_digests import Code
from earmark.code_digests.keys import EXCLUDED
from earmark.layout import Layout
from earmark.params import Params, Section
from earmark.params.reading import flattened, parse_params, read_yaml
from earmark.params.roster import ALL, STUDENT, member_name, members_of
from earmark.settings import profiles
from earmark.tracking.parents import NO_RESULT
from tests.conftest import LONGEST
from tests.source_graph import (
    ROOT,
    closure,
    imports_of,
    libraries_of,
    package_of,
    sources,
    tree_of,
)

# From the bottom to the top: a package imports only from those on lines above its own, so that no
# import goes back up and no circle can form. Packages of one line do not know each other.
LEVELS = [
    "wording interrupts",
    "errors",
    "layout seeding labels checksums spool whole_files file_locks networks",
    "workers turns",
    "processes",
    "params csv_files weights shards",
    "records",
    "store code_digests exits engines",
    "sound published restoring",
    "corpora features",
    "taggers evaluation audit",
    "ensemble reports",
    "tracking",
    "training inference analyses settings",
    "exporting labelling repro",
    "__main__",
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names.split()}

LIBRARY = [path for path in sources("earmark") if path != Path("earmark/__init__.py")]
STAGES = [path for path in sources("stages") if path.name != "__init__.py"]
TOP_LEVEL = [".ci", ".dvc", ".dvcignore", ".github", ".gitignore", ".pre-commit-config.yaml"]
TOP_LEVEL += ["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "benchmarks"]
TOP_LEVEL += ["code.json", "data", "docs", "dvc.lock", "dvc.yaml", "earmark", "experiments"]
TOP_LEVEL += ["extensions", "metrics", "models", "params.yaml", "profiles", "pyproject.toml"]
TOP_LEVEL += ["requirements-cluster.txt", "requirements.in", "requirements.txt", "stages", "tests"]


def as_posix(value: object) -> str | None:
    return value.as_posix() if isinstance(value, Path) else None


@cache
def dvc_stages() -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml by name, anchors resolved and each stage's own vars put in."""
    content = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())
    return {name: with_vars(stage) for name, stage in content["stages"].items()}


def with_vars(stage: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(stage)
    for name, value in {k: v for one in stage.get("vars", []) for k, v in one.items()}.items():
        text = text.replace(f"${{{name}}}", value)
    found: dict[str, Any] = json.loads(text)
    return found


def stages_of(module: Path) -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml that run a module."""
    command = f"python -m stages.{module.stem}"
    return {
        name: stage
        for name, stage in dvc_stages().items()
        if stage["cmd"] == command or stage["cmd"].startswith(f"{command} ")
    }


def outs_of(stage: dict[str, Any]) -> list[str]:
    entries = [one for field in ("outs", "metrics", "plots") for one in stage.get(field, [])]
    return [one if isinstance(one, str) else next(iter(one)) for one in entries]


def tracked_in(stage: dict[str, Any], file: str) -> list[str]:
    """The keys of a params file that a stage tracks, such as `models.logmel.${item.model}`."""
    keys: list[str] = []
    for one in stage.get("params", []):
        by_file = {"params.yaml": [one]} if isinstance(one, str) else one
        keys += by_file.get(file, [])
    return keys


@pytest.mark.parametrize("path", LIBRARY, ids=as_posix)
def test_a_module_imports_nothing_from_above_or_beside_its_package(path):
    home = package_of(path)
    assert home in LEVEL, f"{path}: give {home} a level in tests/test_truth.py"
    others = {package_of(p) for p in imports_of(path) if p != Path("earmark/__init__.py")} - {home}
    assert "stages" not in others
    assert [name for name in sorted(others) if LEVEL[name] >= LEVEL[home]] == []


def test_every_level_is_that_of_a_package():
    assert {package_of(path) for path in LIBRARY} == set(LEVEL)


def test_networks_know_torch_and_nothing_of_ours():
    for path in sources("earmark/networks"):
        ours = {package_of(p) for p in imports_of(path) if p != Path("earmark/__init__.py")}
        assert ours <= {"networks"}, path
        assert libraries_of(path) <= {"torch", *sys.stdlib_module_names}, path


def test_stages_do_not_import_each_other():
    for path in STAGES:
        ours = {p for p in imports_of(path) if p.parts[0] == "stages"}
        assert ours == {Path("stages/__init__.py")}, path


def test_no_stage_module_imports_torch_before_its_threads_are_set():
    code = "import importlib, sys\n"
    code += "".join(f"importlib.import_module('stages.{path.stem}')\n" for path in STAGES)
    code += "sys.exit('torch is there' if 'torch' in sys.modules else 0)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"import it inside run() of the stage: {done.stderr}"


def test_mlflow_is_imported_in_one_place():
    found = [path for path in sources("earmark", "stages") if "mlflow" in libraries_of(path)]
    assert {path.parent for path in found} == {Path("earmark/tracking")}


def test_the_sox_program_is_run_in_one_place():
    found = set()
    for path in sources("earmark", "stages"):
        words = {n.value for n in ast.walk(tree_of(path)) if isinstance(n, ast.Constant)}
        if words & {"sox", "/usr/bin/sox"} or "sox" in libraries_of(path):
            found.add(path.as_posix())
    # code_digests puts the program's version into digests: it asks for that alone
    assert found - {"earmark/code_digests/keys.py"} == {
        "earmark/code_digests/versions.py",
        "earmark/sound/sox.py",
    }
    versions = (ROOT / "earmark/code_digests/versions.py").read_text()
    assert re.findall(r'\["sox".*?\]', versions) == ['["sox", "--version"]']


def test_every_stage_of_dvc_yaml_runs_a_module_and_every_module_is_run():
    run = {name for module in STAGES for name in stages_of(module)}
    assert run == set(dvc_stages())
    assert [str(module) for module in STAGES if not stages_of(module)] == []


def test_every_stage_but_code_tracks_exactly_its_key_of_code_json():
    for module in STAGES:
        for name, stage in stages_of(module).items():
            assert tracked_in(stage, "code.json") == key_of(module.stem), name


def key_of(module: str) -> list[str]:
    item = {
        "decode": "${corpus.adapter}",
        **dict.fromkeys(("features", "unlabelled"), "${item.feature}"),
        **dict.fromkeys(("finetune", "embed"), "${item.extractor}"),
        **dict.fromkeys(("train", "predict"), "${item.model}"),
        "check_labels": "${label_rounds.model}",
    }
    if module == "code":
        return []
    return [f"{module}.{item[module]}" if module in item else module]


def test_code_json_has_a_key_for_every_stage_and_for_nothing_else():
    params = read_yaml(ROOT / "params.yaml")
    stages = {module.stem for module in STAGES} - {"code"}
    of_student = {"unlabelled"}  # which has a feature of its own
    assert {key.stage for key in Code(ROOT, params).keys} == stages - of_student
    params["student"] = {"logmel128": params["models"]["logmel128"]["compact"]}
    assert {key.stage for key in Code(ROOT, params).keys} == stages


def test_modules_that_no_digest_counts_are_there_and_say_why():
    for path, reason in EXCLUDED.items():
        assert (ROOT / path).is_file(), path
        assert reason


def test_stage_code_depends_on_all_sources_and_no_other_stage_on_any():
    for name, stage in dvc_stages().items():
        deps = {dep for dep in stage.get("deps", []) if dep.split("/")[0] in {"earmark", "stages"}}
        assert deps == ({"earmark", "stages"} if name == "code" else set()), name


class Asked(dict[str, Any]):
    """Params that remember which of their sections somebody asked for."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.sections: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.sections.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.sections.add(key)
        return super().get(key, default)


def test_stage_code_tracks_the_sections_that_keys_are_made_of():
    params = Asked(read_yaml(ROOT / "params.yaml"))
    assert Code(ROOT, params, version_of=lambda _: "1").keys
    tracked = {place.split(".")[0] for place in dvc_stages()["code"]["params"]}
    assert params.sections - tracked == set()  # fusion is asked for where a model needs it


SAMPLE = {"model": "M", "extractor": "E", "fold": "F", "feature": "K", "corpus": "C", "round": "i"}


def instantiated(template: str) -> str:
    return re.sub(r"\$\{item\.(\w+)\}", lambda match: SAMPLE[match[1]], template)


def test_outs_of_dvc_yaml_are_the_paths_of_the_layout():
    layout = Layout(Path("/"))
    of_extractor = member_name("M", "E")
    known = {
        *(layout.code, layout.demo("C"), layout.clips, layout.decoded, layout.trimmed),
        *(layout.all_augmented, layout.class_mixed, layout.audit, layout.audit_sound, layout.folds),
        *(layout.features("K"), layout.embeddings("E", "F"), layout.plan, layout.ensemble),
        *(layout.timeline, layout.unlabelled),
        *(layout.report, layout.student, layout.model(STUDENT, ALL), layout.check("i", "F")),
        *(layout.labels_before("i"), layout.labels_before("ii")),
    }
    for member in ("M", "E", of_extractor):
        known |= {layout.model(member, "F"), layout.learning_curve(member, "F")}
    known |= {layout.predictions(member, "F") for member in ("M", of_extractor)}
    outs = {Path("/") / instantiated(o) for stage in dvc_stages().values() for o in outs_of(stage)}
    assert known - outs == set()
    assert {out for out in outs - known if out.parent != layout.metrics} == set()


def test_every_dep_is_an_out_a_setting_or_a_folder_of_several_outs():
    given = {"earmark", "stages", "requirements.txt", "${extensions}"}
    given |= {"${corpus.root}", "${corpus.label_corrections}", "${unlabelled}"}
    whole_folders = {"data/predictions", "data/training"}
    whole_folders |= {"data/rounds", "data/checks/${item.round}"}
    given |= {"data/rounds/before_${item.round}.parquet"}  # of split, or the round before
    given |= {"data/augmented/${item.feature}"}  # a folder of what augment writes
    outs = {out for stage in dvc_stages().values() for out in outs_of(stage)}
    made = [re.escape(re.sub(r"\$\{.*?\}", "*", out)).replace(r"\*", r"[^/]+") for out in outs]
    for name, stage in dvc_stages().items():
        for dep in set(stage.get("deps", [])) - given - whole_folders:
            generic = re.sub(r"\$\{.*?\}", "*", dep)
            assert any(re.fullmatch(out, generic) for out in made), f"{name}: no stage makes {dep}"


def test_dvc_compares_the_figures_of_the_summary_and_no_others():
    metrics = [one for stage in dvc_stages().values() for one in stage.get("metrics", [])]
    assert metrics == [{"metrics/summary.json": {"cache": False}}]
    assert len(flattened(json.loads((ROOT / "metrics/summary.json").read_text()))) <= 15


def header_of(module: Path) -> dict[str, str]:
    """The lines `Reads: ...` and so on of a stage's docstring, each with what is indented under."""
    header: dict[str, str] = {}
    for line in (ast.get_docstring(tree_of(module)) or "").splitlines()[1:]:
        if start := re.match(r"(Reads|Writes|Params): ", line):
            header[start[1]] = line[start.end() :]
        elif line.startswith("    ") and header:
            header[list(header)[-1]] += f" {line.strip()}"
    return header


@pytest.mark.parametrize("module", STAGES, ids=as_posix)
def test_a_stage_is_short_and_its_header_says_what_it_reads_and_writes(module):
    starts_from_nothing = module.stem in {"plan", "demo"}
    expected = ["Writes", "Params"] if starts_from_nothing else ["Reads", "Writes", "Params"]
    if all(
        "params" not in s or not tracked_in(s, "params.yaml") for s in stages_of(module).values()
    ):
        expected.remove("Params")
    assert list(header_of(module)) == expected
    assert len((ROOT / module).read_text().splitlines()) <= 160


@pytest.mark.parametrize("module", STAGES, ids=as_posix)
def test_the_header_names_every_out_and_dep_of_data(module):
    header = header_of(module)
    for stage in stages_of(module).values():
        for line, paths in (("Reads", stage.get("deps", [])), ("Writes", outs_of(stage))):
            for path in paths:
                if path.startswith(("data/", "models/", "metrics/")):
                    fixed = Path(path.split("${")[0])
                    # by its whole path, among other files of its folder, or as <name> of a folder
                    ways = (fixed.as_posix(), fixed.name, f"{fixed.parent.as_posix()}/<")
                    assert any(way in header[line] for way in ways), (line, path)


@pytest.mark.parametrize("module", STAGES, ids=as_posix)
def test_the_params_that_a_header_names_are_tracked(module):
    named = header_of(module).get("Params", "")
    for name, stage in stages_of(module).items():
        tracked = [re.sub(r"\$\{[\w.]+\}", "*", key) for key in tracked_in(stage, "params.yaml")]
        for key in re.split(r", (?![^(]*\))", named) if named else []:
            generic = re.escape(re.sub(r"<\w+>", "*", key.split(" (")[0])).replace(r"\*", r"[\w*]+")
            is_tracked = any(re.match(rf"{generic}(\.|$)", one) for one in tracked)
            assert is_tracked, f"{name}: params lack {key}"


# What a property of Params or a function of the roster reads.
READS = {"fold_names": "folds"}
# Read, but the stored data that a stage depends on has them.
COMES_WITH_THE_DATA = {"decode.sample_rate"}
# Read to refuse, or on the way to the entry of another stage. The stages of fusion
# depend on the folders of the two features that `fusion` names.
READ_WITHOUT_EFFECT = {
    "decode": {"cv", "folds"},
    "train": {"finetune", "extractors", "fusion"},
    "check_labels": {"finetune", "extractors", "fusion"},
    "finetune": {"model"},
    "predict": {"fusion"},
    "student": {"finetune"},
}


@pytest.mark.parametrize("module", STAGES, ids=as_posix)
def test_the_params_that_a_stage_reads_are_tracked(module):
    read = params_read(module) - NO_RESULT - COMES_WITH_THE_DATA
    read -= READ_WITHOUT_EFFECT.get(module.stem, set())
    for name, stage in stages_of(module).items():
        tracked = [key.split(".${")[0] for key in tracked_in(stage, "params.yaml")]
        for key in read:
            near = [t for t in tracked if f"{key}.".startswith(f"{t}.") or t.startswith(key)]
            assert near, f"{name} reads {key}, which its params in dvc.yaml lack"


def params_read(module: Path) -> set[str]:
    """Keys such as `decode.sample_rate` that a stage reads, itself or in a function it reaches."""
    keys: set[str] = set()
    for function in functions_with_params(module):
        for node in ast.walk(function):
            chain = re.match(r"(?:s\.)?params\.(\w+)(?:\.(\w+))?$", ast.unparse(node))
            if isinstance(node, ast.Attribute) and chain:
                keys |= key_read(READS.get(chain[1], chain[1]), chain[2])
    whole = {key.split(".")[0] for key in keys if "." in key}  # the chain's own beginning
    return keys - whole


def key_read(section: str, field: str | None) -> set[str]:
    if section not in Params.model_fields:
        return set()
    annotation = Params.model_fields[section].annotation
    is_section = isinstance(annotation, type) and issubclass(annotation, Section)
    return {f"{section}.{field}" if is_section and field in annotation.model_fields else section}


def functions_with_params(module: Path) -> list[ast.AST]:
    """The stage's code, and every function with an argument `params` that it may call."""
    known: dict[str, list[ast.AST]] = {}
    excluded = {Path(path) for path in EXCLUDED}  # such as what MLflow is told
    for path in closure(module) - excluded - {module}:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef) and "params" in {a.arg for a in node.args.args}:
                known.setdefault(node.name, []).append(node)
    reached: list[ast.AST] = []
    to_read: list[ast.AST] = [tree_of(module)]
    while to_read:
        reached.append(function := to_read.pop())
        for node in ast.walk(function):
            name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
            to_read += known.pop(name, [])
    return reached


def test_a_demo_params_yaml_has_the_keys_that_the_profile_writes(tmp_path):
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    layout = Layout(tmp_path)
    profiles.use(layout, "demo", root="", table="", cwd=tmp_path)
    shipped, fresh = read_yaml(ROOT / "params.yaml"), read_yaml(layout.params)
    if shipped["corpus"]["name"] == "demo":  # users put other profiles in its place
        assert flattened(shipped).keys() == flattened(fresh).keys()


def test_ci_expects_a_figure_of_every_member_of_its_profile(tmp_path):
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    layout = Layout(tmp_path)
    profiles.use(layout, "ci", root="", table="", cwd=tmp_path)
    params, problems = parse_params(read_yaml(layout.params), "params.yaml")
    assert params is not None, problems
    expected = json.loads((ROOT / ".ci/expected.json").read_text())
    members = members_of(params)
    of_each = {f"{name}/{split}/map_at_3" for name in members for split in ("out_of_fold", "test")}
    assert expected["scores"].keys() == {
        *of_each,
        "ensemble/out_of_fold/map_at_3",
        "ensemble/test/map_at_3",
    }
    trained = {*members, *params.extractors}
    trainings = {f"{name}-{fold}" for name in trained for fold in params.fold_names}
    assert {key.split("/")[0] for key in expected["curves"]} == trainings


def test_the_hooks_of_a_commit_run_what_make_lint_runs():
    hooks = YAML(typ="safe", pure=True).load((ROOT / ".pre-commit-config.yaml").read_text())
    commands = [hook["entry"].split("/")[-1] for hook in hooks["repos"][0]["hooks"]]
    recipe = (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    assert commands == [line.strip() for line in recipe.splitlines()[1:]]


def tracked_files() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git repository")
    return [Path(name) for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_top_level_of_a_clone_is_as_it_is_meant():
    files = tracked_files()
    assert sorted({path.parts[0] for path in files}, key=str.lower) == sorted(
        TOP_LEVEL, key=str.lower
    )
    for folder in ("data", "models"):
        assert [p for p in files if p.parts[0] == folder] == [Path(folder, "README.md")]


def test_the_readme_maps_every_package_and_folder():
    section = (ROOT / "README.md").read_text().split("\n## Files\n")[1].split("\n## ")[0]
    files = tracked_files()
    names = {path.name for path in (ROOT / "earmark").glob("*.py")} - {"__init__.py"}
    names |= {f"{path.parent.name}/" for path in (ROOT / "earmark").glob("*/__init__.py")}
    names |= {f"{path.parts[0]}/" for path in files if len(path.parts) > 1}
    lacking = [n for n in sorted(names) if not re.search(rf"(?<![\w.]){re.escape(n)}", section)]
    assert lacking == []


@pytest.mark.parametrize(("name", "n_lines"), [("dvc.yaml", 450), ("README.md", 150)])
def test_a_file_is_no_longer_than_it_is_meant_to_be(name, n_lines):
    assert len((ROOT / name).read_text().splitlines()) <= n_lines


def test_the_test_files_that_come_first_are_there():
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []


def test_no_tracked_file_is_large_or_names_a_home():
    home = re.compile(rb"/(?:home|Users|root)/\w")
    for path in tracked_files():
        content = (ROOT / path).read_bytes()
        assert len(content) <= 1_000_000, f"{path}: {len(content)} bytes"
        assert not home.search(content), f"{path}: names a path of one machine"
