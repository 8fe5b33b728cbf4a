"""Values that cannot work are refused in one line before anything runs, and in bounded time."""

import time
import types
import typing
from typing import Annotated, Any

import pytest

from earmark.corpora.synthetic.options import DemoOptions
from earmark.features import FEATURE_TYPES
from earmark.features import find as find_feature
from earmark.networks import NETWORKS, default_options
from earmark.params import Params
from earmark.params.section import Section
from earmark.settings.option_limits import DEMO_LIMITS, FEATURE_LIMITS, NETWORK_LIMITS
from earmark.wording import MANY
from tests.params.raw_params import ATTENTION, DENSENET, SAMPLECNN, changed, problems_with

NAN, INFINITY, WORDS = float("nan"), float("inf"), [f"x{n}" for n in range(10_000)]
TEMPO, CLASS_MIXING, EXTRACTOR = "augment.tempo.factor", "class_mixing.same_class", "extractors"
FAULTS: list[tuple[str, Any]] = [
    ("seed", 2**63),
    ("runtime.threads", 10**9),
    ("runtime.workers", 10**9),
    ("runtime.checkpoint_seconds", 1e300),
    ("corpus.root", "a\nb"),
    ("corpus.name", "x" * 300),
    ("decode.sample_rate", 10**9),
    ("decode.shard_seconds", 1e-300),
    ("decode.shard_seconds", 1e12),
    ("trim.top_db", 1e300),
    ("trim.min_seconds", 1e12),
    ("cv.k", 10**9),
    ("folds", 5),
    ("folds", [-1]),
    ("folds", ["a b"]),
    ("folds", WORDS),
    ("folds", list(range(10_000))),
    (TEMPO, [1.25, 0.8]),
    (TEMPO, 1e-9),
    (TEMPO, NAN),
    (TEMPO, {"among": 5}),
    (TEMPO, [1e9] * 10_000),
    ("augment.pitch.semitones", [-1000, 1000]),
    ("augment.reverb.pre_delay_ms", [0, 1e9]),
    (f"{CLASS_MIXING}.copies", 10**9),
    (f"{CLASS_MIXING}.max_delay_seconds", 1e9),
    (f"{CLASS_MIXING}.gain_db", 1e9),
    (f"{CLASS_MIXING}.center_hz", [4000.0, 100.0]),
    (f"{CLASS_MIXING}.center_hz", [100.0, 30_000.0]),  # above half of 44.1 kHz
    (f"{CLASS_MIXING}.q", [9.0, 1.0]),
    ("class_mixing.pitch_fill.up_to", 10**9),
    ("class_mixing.pitch_fill.max_semitones", 10**9),
    ("features.logmel.n_fft", 10**9),
    ("features.logmel.hop_length", 4096),  # above n_fft
    ("features.logmel.n_mels", 1500),  # more than bins
    ("features.logmel.f_min_hz", NAN),
    ("features.logmel.f_min_hz", 22_050.0),
    ("features.logmel.f_max_hz", 30_000.0),
    ("features.wave16k.target_hz", 10**9),
    ("demo.synthetic.n_train", 10**9),
    ("demo.synthetic.n_train", "360"),
    ("demo.synthetic.n_tags", 17),
    ("demo.synthetic.mean_seconds", 1e9),
    ("demo.synthetic.background_snr_db", [50.0, 20.0]),
    ("demo.synthetic.background_snr_db", [NAN, NAN]),
    ("model.batch_size", 10**9),
    ("model.epochs", 10**9),
    ("model.adam_epsilon", 1e-300),
    ("model.base_lr", 1e300),
    ("model.l2", 1e300),
    ("model.mixup_alpha", 1e300),
    ("model.mixup_alpha", 1e-300),
    ("model.ema_decay", 0.9999999),
    ("model.monitor", "los"),
    ("finetune.patience", 10**12),
    (f"{DENSENET}.network.n_blocks", 10**9),
    (f"{DENSENET}.network.growth", -1),
    (f"{DENSENET}.network.bn_momentum", NAN),
    (f"{DENSENET}.network.name", "a\x07b"),
    (f"{DENSENET}.input.segment_seconds", 1e12),
    (f"{DENSENET}.input.lengths", [1e9]),
    (f"{DENSENET}.training.frozen", ["featurs.0"]),
    (f"{DENSENET}.training.frozen", [""]),
    (f"{DENSENET}.training.frozen", ["features", "norm", "head"]),
    (f"{DENSENET}.training.frozen", WORDS),
    (f"{DENSENET}.training.epochs", 10**9),
    (f"{SAMPLECNN}.network.width", -1),
    (f"{SAMPLECNN}.network.width", 1e9),
    (f"{SAMPLECNN}.network.dropout", 1.0),
    (f"{SAMPLECNN}.network.n_samples", 10**9),
    (f"{SAMPLECNN}.input.segment_samples", 10**12),
    (f"{ATTENTION}.network.n_units", 10**9),
    (f"{ATTENTION}.input.segment_patches", 10**9),
    (f"{EXTRACTOR}.vggish.max_patches", 10**9),
    (f"{EXTRACTOR}.vggish.network", {"name": "vggish", "width": 64.0}),  # 74 billion parameters
    ("inference.n_crops", 10**9),
    ("ensemble.weights", {"x": INFINITY}),
    ("evaluate.n_resamples", 10**12),
    ("evaluate.label_groups", {"x": []}),
    ("evaluate.label_groups", {"x": list(range(10_000))}),
]


@pytest.mark.parametrize(
    ("key", "value"), FAULTS, ids=[f"{n}-{key}" for n, (key, _) in enumerate(FAULTS)]
)
def test_a_value_that_cannot_work_is_one_line_with_its_key(demo, key, value):
    start = time.process_time()
    (problem,) = problems_with(changed(demo, {key: value}))
    parent, _, last = key.rpartition(".")
    assert problem.startswith(f"params.yaml: {parent}"), problem
    assert last in problem
    assert problem.isprintable()
    assert len(problem) < 850
    assert time.process_time() - start < 20  # the first one imports torch


@pytest.mark.parametrize("k", [1000, 1001, 10**9])
def test_many_folds_take_no_time(demo, k):
    start = time.process_time()
    problems = problems_with(changed(demo, {"cv.k": k, "folds": [0, k - 1] if k < 5000 else [0]}))
    assert len(problems) == (k > 1000)
    assert time.process_time() - start < 20


def test_ten_thousand_equal_faults_are_one_line_with_their_number(demo):
    unknown = {f"model.{word}": 1 for word in WORDS}
    (problem,) = problems_with(changed(demo, unknown))
    assert problem.endswith("(and 9,999 more like it)")
    assert "model.x0: unknown key" in problem


def test_a_few_equal_faults_are_a_line_each(demo):
    unknown = {f"model.zzz_{word}": 1 for word in WORDS[:MANY]}
    assert len(problems_with(changed(demo, unknown))) == MANY


# Every number has two bounds.


def unbounded(annotation: Any, metadata: tuple[Any, ...] = ()) -> bool:
    """Whether an annotation has a number without a lower or without an upper bound."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return unbounded(arguments[0], (*metadata, *annotation.__metadata__))
    if origin is typing.Literal or annotation is Any:
        return False
    if annotation in (int, float):
        checks = [c for m in metadata for c in (getattr(m, "metadata", None) or [m])]
        low = any(hasattr(check, "ge") or hasattr(check, "gt") for check in checks)
        high = any(hasattr(check, "le") or hasattr(check, "lt") for check in checks)
        return not (low and high)
    if origin in (list, dict, typing.Union, types.UnionType):
        return any(unbounded(argument) for argument in arguments)
    return False


def sections(section: type[Section]) -> set[type[Section]]:
    """A section and those within it."""
    found = {section}
    for field in section.model_fields.values():
        for inner in _sections_in(field.annotation):
            found |= sections(inner)
    return found


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [one for inner in typing.get_args(annotation) for one in _sections_in(inner)]


def test_every_number_of_the_declared_params_has_two_bounds():
    without = [
        f"{section.__name__}.{name}"
        for section in sections(Params)
        for name, field in section.model_fields.items()
        if unbounded(field.annotation, tuple(field.metadata))
    ]
    assert without == []


@pytest.mark.parametrize(
    ("annotation", "is_unbounded"),
    [(int, True), (dict[str, list[float]], True), (bool, False), (int | None, True)],
)
def test_a_number_without_bounds_is_found(annotation, is_unbounded):
    assert unbounded(annotation) == is_unbounded


@pytest.mark.parametrize(
    "name", sorted(NETWORKS.keys() - {"cnn_comb"})
)  # its backbones decide its own
def test_every_number_that_a_network_takes_has_limits_that_hold_its_default(name):
    for option, default in default_options(name).items():
        if type(default) in (int, float):
            assert default in NETWORK_LIMITS[option]


@pytest.mark.parametrize("name", [name for name in FEATURE_TYPES if name != "embedding"])
def test_every_number_that_a_feature_takes_has_limits(name):
    fields = find_feature(name).__dataclass_fields__  # type: ignore[attr-defined]
    numbers = {option for option, field in fields.items() if field.type in (int, float)}
    assert numbers - {"sample_rate"} <= FEATURE_LIMITS.keys()


def test_every_number_of_a_demo_corpus_has_limits():
    assert set(DemoOptions.__dataclass_fields__) == DEMO_LIMITS.keys()
