"""A table of edits: for each, exactly these stages of dvc.yaml are to be done again.

An edit is made in a copy of the sources and of params.yaml, and undone. A stage is stale where a
parameter that it tracks, a key of code.json or of params.yaml, differs; what its data then makes
stale is DVC's part. `code` itself runs on every edit, so it stands in no row.
"""

import copy
import itertools
import re
import shutil
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ruamel.yaml import YAML

from earmark.code_digests import EXCLUDED, REGISTRIES, Code, code_keys

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = {"torch": "2.11.0", "sox": "14.4.2"}
ONE_OF_EACH = """
seed: 1
extensions: extensions
runtime: {threads: 2, workers: 2, checkpoint_seconds: 60.0, device: cpu, precision: float32}
corpus: {name: demo, adapter: fsdkaggle2018,
  root: data/demo/synthetic, links_outside: false, max_quarantined: 0.05,
  label_corrections: profiles/no_corrections.csv}
demo: {synthetic: {n_tags: 3}}
decode: {sample_rate: 44100}
folds: [0, 1]
augment: {tempo: {factor: [0.8, 1.25]}, pitch: {semitones: [-3.5, 3.5]}}
features:
  logmel: {type: logmel, n_mels: 80}
  mfcc: {type: mfcc, n_mels: 80}
  wave44k: {type: waveform, target_hz: 44100}
  wave16k: {type: waveform, target_hz: 16000}
  patches: {type: patches}
  backbone: {type: mn, width: 0.4, weights: mn.safetensors}
fusion: {audio: wave44k, spec: logmel}
rounds: []
label_rounds: {feature: logmel, model: dense, doubt_weight: 0.3}
student: {}
model: {optimizer: adam, seed: 1}
finetune: {optimizer: adam, seed: 1}
models:
  logmel:
    dense: {network: {name: densenet}, input: {}, training: {}, prediction: {aggregation: mean}}
    joint_spec: {network: {name: cnn_spec}, input: {}, training: {}, prediction: {}}
  logmel128: {}
  mfcc:
    dense_mfcc: {network: {name: densenet}, input: {}, training: {}, prediction: {}}
  wave44k:
    joint_audio: {network: {name: cnn_audio}, input: {}, training: {}, prediction: {}}
  wave16k:
    samplecnn: {network: {name: samplecnn}, input: {}, training: {}, prediction: {}}
  patches: {}
  backbone:
    head: {network: {name: segment_dnn}, input: {}, training: {}, prediction: {}}
  backbone_input: {}
  embedding:
    attention: {network: {name: multilevel_attention}, input: {}, training: {}, prediction: {}}
  fusion:
    joint: {network: {name: cnn_comb}, input: {}, training: {}, prediction: {}}
extractors: {vggish: {network: {name: vggish}, training: {}}}
inference: {n_crops: 10, confidence: 0.7}
ensemble: {weights: learned}
evaluate: {metric: map_at_3, rejection_threshold: 0.0}
"""


@cache
def loaded(text: str) -> dict[str, Any]:
    """What YAML holds, not to be changed; the parser takes longer than all the rest of a test."""
    content: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return content


class World:
    """A copy of the sources, the params and the versions: what an edit changes.

    All tests share the copy: `undo` takes back what this one wrote there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written: dict[Path, str | None] = {}  # and what stood there before
        self.params = copy.deepcopy(loaded(ONE_OF_EACH))
        self.versions = dict(VERSIONS)

    def keys(self) -> dict[str, Any]:
        return code_keys(
            self.root, self.params, version_of=lambda name: self.versions.get(name, "1")
        )

    def write(self, path: Path, text: str) -> None:
        self.written.setdefault(path, path.read_text() if path.exists() else None)
        path.write_text(text)

    def undo(self) -> None:
        for path, text in self.written.items():
            if text is None:
                path.unlink()
            else:
                path.write_text(text)


Edit = Callable[[World], None]


def put(path: str, text: str) -> Edit:
    """Write a new file."""

    def edit(world: World) -> None:
        place = world.root / path
        assert not place.exists()
        world.write(place, text)

    return edit


def append(path: str, text: str = "_ADDED = 1\n") -> Edit:
    """Add to the end of a file; without a text, code that computes something."""

    def edit(world: World) -> None:
        place = world.root / path
        world.write(place, f"{place.read_text()}\n{text}")

    return edit


def replace(path: str, pattern: str, new: str) -> Edit:
    """Replace the first match of a pattern in a file."""

    def edit(world: World) -> None:
        place = world.root / path
        text, n = re.subn(pattern, new, place.read_text(), count=1)
        assert n, f"{path} has no {pattern}; give this row another text to replace"
        world.write(place, text)

    return edit


def comment(path: str) -> Edit:
    """A comment at the end of a line within the file, and one of its own."""

    def edit(world: World) -> None:
        replace(path, r"(?m)^(from|import) (.*[^(\\])$", r"\1 \2  # a comment")(world)
        append(path, "# A comment.\n")(world)

    return edit


def set_param(place: str, value: object) -> Edit:
    def edit(world: World) -> None:
        *sections, key = place.split(".")
        section = world.params
        for name in sections:
            section = section[name]
        section[key] = value

    return edit


def upgrade(name: str, version: str) -> Edit:
    def edit(world: World) -> None:
        world.versions[name] = version

    return edit


def both(*edits: Edit) -> Edit:
    def edit(world: World) -> None:
        for one in edits:
            one(world)

    return edit


def entry(name: str) -> Edit:
    """An entry of NETWORKS for earmark/networks/new.py."""
    line = f'\\g<0>\n    "{name}": "earmark.networks.new:New",'
    return replace("earmark/networks/__init__.py", r"(?m)^NETWORKS.*\{$", line)


def model(network: str) -> dict[str, Any]:
    return {"network": {"name": network}, "input": {}, "training": {}, "prediction": {}}


NOTHING: set[str] = set()
TRAIN, PREDICT = {"train_*"}, {"predict_*"}
TRAINED = {*TRAIN, "finetune@*"}
USES_NETWORKS = {*TRAINED, *PREDICT, "embed@*", "timeline"}
USES_BACKBONES = {*USES_NETWORKS, "features@backbone", "augment"}
USES_SOX = {"augment"}
USES_TORCH = {*USES_NETWORKS, "features@*", "augment"}
NEW_NETWORK = put("earmark/networks/new.py", "import torch\n\n\nclass New: ...\n")
OWN_NETWORK = put("extensions/own.py", "import torch\n\n\nclass Own: ...\n")
LAYERS = [
    *("stages/train.py", "earmark/seeding.py", "earmark/store.py", "earmark/sound/trimming.py"),
    *("earmark/corpora/folds.py", "earmark/features/logmel.py", "earmark/networks/densenet.py"),
    *("earmark/taggers/tagger.py", "earmark/training/loop.py", "earmark/ensemble/combining.py"),
    *("earmark/evaluation/points.py", "earmark/audit/label_noise.py", "earmark/reports/parts.py"),
]


class Row(NamedTuple):
    """An edit, the stages that it makes stale (as patterns of names), and what was done before."""

    name: str
    edit: Edit
    stale: set[str]
    before: Edit | None = None


TABLE = [
    *(Row(f"a comment in {path}", comment(path), NOTHING) for path in LAYERS),
    Row(
        "a docstring",
        replace("earmark/sound/trimming.py", r'"""', '"""Now in other words. '),
        NOTHING,
    ),
    Row("an annotation", replace("earmark/training/loop.py", r"-> \w+:", "-> object:"), NOTHING),
    Row("a message of an error", append("earmark/errors.py"), NOTHING),
    Row("a path of the layout", append("earmark/layout.py"), NOTHING),
    Row("a declaration of params", append("earmark/params/recipe.py"), NOTHING),
    Row("what MLflow is told", append("earmark/tracking/runs.py"), NOTHING),
    Row("the command line", append("earmark/__main__.py"), NOTHING),
    Row("a renamed local", append("stages/plan.py", "_OTHER = 1\n"), {"plan"}),
    Row("a network with its entry, no model", both(NEW_NETWORK, entry("new")), NOTHING),
    Row(
        "a network with its entry and a model",
        both(NEW_NETWORK, entry("new"), set_param("models.logmel.fresh", model("new"))),
        {"train_logmel@fresh", "predict_logmel@fresh", "plan", "timeline"},
    ),
    Row(
        "a model of a network that is there",
        set_param("models.mfcc.second", model("densenet")),
        {"train_mfcc@second", "predict_mfcc@second", "plan"},
    ),
    Row(
        "a changed network",
        append("earmark/networks/densenet.py"),
        {f"{s}@{m}" for s in ("train_*", "predict_*") for m in ("dense", "dense_mfcc")}
        | {"timeline"},
    ),
    Row(
        "a network of backbones",
        append("earmark/networks/fusion_cnn.py"),
        {f"{s}@joint*" for s in ("train_*", "predict_*")} | {"timeline"},
    ),
    Row("what all networks share", append("earmark/networks/layers.py"), USES_BACKBONES),
    Row(
        "the network of a backbone",
        append("earmark/networks/mobilenet.py"),
        {"features@backbone", "augment", "*_backbone@head", "timeline"},
    ),
    Row("a network in no model", append("earmark/networks/lstm.py"), NOTHING),
    Row(
        "the extractors' network",
        append("earmark/networks/vggish.py"),
        {"finetune@*", "embed@*", "timeline"},
    ),
    Row("the optimiser", append("earmark/training/optimizers.py"), TRAINED),
    Row("the losses", append("earmark/training/losses.py"), TRAINED),
    Row("the loop", append("earmark/training/loop.py"), TRAINED),
    Row(
        "the options of a model",
        set_param("models.logmel.dense.network", {"name": "densenet", "growth": 8}),
        {"train_logmel@dense", "plan"},
    ),
    Row("a key of the recipe", set_param("model.mixup_alpha", 0.4), TRAIN),
    Row("the seed of models", set_param("model.seed", 2), TRAIN),
    Row(
        "the aggregation of a model",
        set_param("models.logmel.dense.prediction", {"aggregation": "confident_crop"}),
        {"predict_logmel@dense", "plan"},
    ),
    Row("the metrics of evaluation", append("earmark/evaluation/by_tag.py"), {"evaluate"}),
    Row("a page of the report", append("earmark/reports/report.py"), {"evaluate"}),
    Row("a template", append("earmark/reports/templates/macros.html"), {"evaluate", "audit"}),
    Row("a style", append("earmark/reports/templates/page.css"), {"evaluate", "audit"}),
    Row("a figure", append("earmark/reports/figures.py"), {"evaluate", "audit"}),
    Row("a new key of evaluate", set_param("evaluate.n_bins", 10), {"evaluate"}),
    Row(
        "the threshold of rejection",
        set_param("evaluate.rejection_threshold", 0.2),
        {"evaluate", "ensemble"},
    ),
    Row("the ensemble's weights", set_param("ensemble.weights", "equal"), {"ensemble", "evaluate"}),
    Row("an adapter not in use", append("earmark/corpora/adapters/esc.py"), NOTHING),
    Row(
        "the adapter in use",
        append("earmark/corpora/adapters/fsdkaggle2018.py"),
        {"decode", "audit"},
    ),
    Row("another adapter", set_param("corpus.adapter", "esc10"), {"decode", "audit"}),
    Row("the corpus generator", append("earmark/corpora/synthetic/corpus.py"), {"demo@*"}),
    Row("how ends are trimmed", append("stages/trim.py"), {"trim"}),
    Row("where folds come from", append("earmark/corpora/folds.py"), {"split"}),
    Row("how SoX is run", append("earmark/sound/sox.py"), USES_SOX),
    Row("the values of an effect", set_param("augment.tempo", {"factor": [0.9, 1.1]}), {"augment"}),
    Row(
        "a type of feature",
        append("earmark/features/waveform.py"),
        {"features@wave*", "augment", "timeline"}
        | {f"{s}_{g}@*" for s in ("train", "predict") for g in ("wave44k", "wave16k", "fusion")},
    ),
    Row(
        "the options of a feature",
        set_param("features.mfcc", {"type": "mfcc", "n_mels": 64}),
        {"features@mfcc", "augment", "train_mfcc@*"},
    ),
    Row("how duplicates sound", append("earmark/audit/fingerprints.py"), {"audit_sound"}),
    Row("the audit of labels", append("earmark/audit/label_noise.py"), {"audit", "evaluate"}),
    Row(
        "a lazy import of a new module",
        both(
            put("earmark/training/late.py", "LATE = 1\n"),
            append(
                "earmark/training/losses.py",
                "def _late() -> None:\n    import earmark.training.late\n",
            ),
        ),
        TRAINED,
    ),
    Row(
        "a change in a module that is imported lazily",
        append("earmark/training/late.py"),
        TRAINED,
        before=both(
            put("earmark/training/late.py", "LATE = 1\n"),
            append(
                "earmark/training/losses.py",
                "def _late() -> None:\n    import earmark.training.late\n",
            ),
        ),
    ),
    Row("torch", upgrade("torch", "2.12.0"), USES_TORCH),
    Row("the sox program", upgrade("sox", "14.4.3"), USES_SOX),
    Row("librosa, which shifts Xu's pitches", upgrade("librosa", "0.12"), {"class_mixing"}),
    Row("how often a checkpoint is kept", set_param("runtime.checkpoint_seconds", 5.0), NOTHING),
    Row("how many may be unusable", set_param("corpus.max_quarantined", 0.5), NOTHING),
    Row("the workers", set_param("runtime.workers", 8), NOTHING),
    Row(
        "the threads",
        set_param("runtime.threads", 1),
        USES_NETWORKS,
    ),
    Row("a user's own network, in no model", OWN_NETWORK, NOTHING),
    Row(
        "a user's own network and its model",
        set_param("models.logmel.own", model("extensions.own:Own")),
        {"train_logmel@own", "predict_logmel@own", "plan", "timeline"},
        before=OWN_NETWORK,
    ),
    Row(
        "a change of a user's own network",
        append("extensions/own.py"),
        {"train_logmel@own", "predict_logmel@own", "timeline"},
        before=both(OWN_NETWORK, set_param("models.logmel.own", model("extensions.own:Own"))),
    ),
]


def at(params: Any, place: str) -> object:
    """The value of a key path; None where there is none."""
    for key in place.split("."):
        params = params.get(key) if isinstance(params, dict) else None
    return params


def tracked_values(world: World) -> dict[str, dict[str, object]]:
    """Stage without its fold -> the values of what it tracks, as dvc.yaml names them."""
    code = world.keys()
    stages = loaded((ROOT / "dvc.yaml").read_text())["stages"]
    found: dict[str, dict[str, object]] = {}
    for name, stage in stages.items():
        for member, variables in members(name, stage, world.params):
            values = found.setdefault(member, {})
            for source, place in places_of(stage.get("params", [])):
                instance = instantiated(place, variables, world.params)
                content = code if source == "code.json" else world.params
                values[f"{source}:{instance}"] = copy.deepcopy(at(content, instance))
    del found["code"]
    return found


def members(
    name: str, stage: dict[str, Any], params: dict[str, Any]
) -> Iterator[tuple[str, dict[str, str]]]:
    """The stages that a matrix stands for, without its folds, each with its variables."""
    variables = {key: value for one in stage.get("vars", []) for key, value in one.items()}
    matrix = {key: at(params, over[2:-1]) for key, over in stage.get("matrix", {}).items()}
    axes = {key: list(values) for key, values in matrix.items() if key != "fold"}
    for choice in itertools.product(*axes.values()):
        items = {f"item.{key}": value for key, value in zip(axes, choice, strict=True)}
        yield f"{name}@{'-'.join(choice)}" if choice else name, variables | items


def places_of(entries: list[Any]) -> Iterator[tuple[str, str]]:
    """Each tracked parameter with the file that it stands in."""
    for one in entries:
        for source, places in one.items() if isinstance(one, dict) else [("params.yaml", [one])]:
            yield from ((source, place) for place in places)


def instantiated(template: str, variables: dict[str, str], params: dict[str, Any]) -> str:
    return re.sub(
        r"\$\{([\w.]+)\}", lambda m: str(variables.get(m[1]) or at(params, m[1])), template
    )


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    root: Path = tmp_path_factory.mktemp("sources")
    for folder in ("earmark", "stages", "extensions"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def untouched(copied) -> dict[str, dict[str, object]]:
    return tracked_values(World(copied))


@pytest.fixture
def world(copied) -> Iterator[World]:
    one = World(copied)
    yield one
    one.undo()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_an_edit_makes_exactly_these_stages_stale(world, untouched, row):
    before = untouched
    if row.before:
        row.before(world)
        before = tracked_values(world)
    row.edit(world)
    after = tracked_values(world)
    stale = {name for name in after if after[name] != before.get(name)}
    expected = {name for name in after if any(fnmatch(name, one) for one in row.stale)}
    unmatched = {one for one in row.stale if not any(fnmatch(name, one) for name in after)}
    assert unmatched == set(), "patterns of no stage"
    assert sorted(stale) == sorted(expected)


def test_every_stage_but_code_tracks_one_key_that_code_json_has(world):
    for name, values in tracked_values(world).items():
        keys = [place for place in values if place.startswith("code.json:")]
        assert len(keys) == 1, name
        assert values[keys[0]], f"{name}: code.json has no {keys[0]}"


def test_excluded_modules_and_registries_are_there():
    paths = [*EXCLUDED, *REGISTRIES.values()]
    assert [path for path in paths if not (ROOT / path).is_file()] == []


def test_a_stage_that_looks_into_a_registry_says_what_it_reads_there(world):
    world.params["student"] = {"logmel": {"network": {"name": "densenet"}}}
    code = Code(world.root, world.params, version_of=lambda _: "1")
    for key in code.keys:
        for home in REGISTRIES.values():
            package = home.removesuffix("/__init__.py").replace("/", ".")
            readers = {
                path
                for path in code.modules(key)
                if {f"{package}.build", f"{package}.find"} & set(code.source(path).imports)
            }
            named = any(one.startswith(package) for one in key.entries)
            assert named or not readers, f"{key} reads {home} in {readers} and names no entry of it"


def test_all_digests_take_less_than_three_seconds(world):
    start = time.process_time()
    world.keys()
    assert time.process_time() - start < 3


@pytest.mark.slow
def test_stages_are_those_that_dvc_makes_of_dvc_yaml(world, tmp_path):
    from dvc.repo import Repo

    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    with (tmp_path / "params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(world.params, file)
    Repo.init(str(tmp_path), no_scm=True).close()
    with Repo(str(tmp_path)) as repo:
        names = {re.sub(r"[-@][01]$", "", stage.name) for stage in repo.index.stages}
    assert names - {"code"} == tracked_values(world).keys()
