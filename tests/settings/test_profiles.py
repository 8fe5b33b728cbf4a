"""A profile writes params.yaml whole or leaves it alone, and reports what it changed."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save as safetensors

from earmark.checksums import sha256_of
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.networks import build
from earmark.params.reading import load_params, read_yaml
from earmark.params.roster import entries_of, recipe_of, weights_of
from earmark.settings import own_recordings, profiles
from earmark.settings.model_validation import weight_problems
from earmark.settings.validation import option_problems, stage_problems
from earmark.settings.weight_checksums import keep_checksums
from earmark.weights import save_tensors
from tests.corpora import corpus_trees
from tests.source_graph import ROOT


@pytest.fixture
def layout(tmp_path) -> Layout:
    return repository(tmp_path)


def repository(folder: Path) -> Layout:
    root = folder / "repository"
    shutil.copytree(ROOT / "profiles", root / "profiles")
    return Layout(root)


def test_checksums_of_weights_outlive_a_change_of_profile(layout: Layout) -> None:
    use(layout, "demo")
    assert keep_checksums(layout.params, {"net.pt": "a" * 64})
    use(layout, "shan2018")
    assert load_params(layout.params).weight_checksums == {"net.pt": "a" * 64}


@pytest.fixture
def recordings(tmp_path) -> Path:
    return write_recordings(tmp_path)


def write_recordings(folder: Path) -> Path:
    """Two classes of six recordings each, and tables that name them."""
    root = folder / "My Recordings (2024)"
    for name in (f"{label}/{n}.wav" for label in ("cat", "dog") for n in range(6)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    write_table(root / "labels.csv", root, folds=0)
    return root


def write_table(path: Path, root: Path, *, folds: int) -> None:
    lines = ["path,label,fold"]
    for number, file in enumerate(sorted(root.glob("*/*.wav"))):
        fold = str(number % folds + 1) if folds else ""
        lines.append(f"{file.relative_to(root)},{file.parent.name},{fold}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def use(
    layout: Layout, name: str, *, root: object = "", table: object = "", weights="", cwd=None
) -> list[str]:
    return profiles.use(
        layout, name, root=str(root), table=str(table), weights=weights, cwd=cwd or layout.root
    )


PRETRAINED = ("pretrained", "finetuned")
OWN = ("folder", "five_papers_folder", *PRETRAINED)  # for recordings of one's own


def apply(layout: Layout, recordings: Path, name: str) -> None:
    """Use any profile, with recordings and weights where it needs them."""
    if name in PRETRAINED:
        mn_weights(layout.root / "weights" / "mn04_as.safetensors", width=0.4)
    use(layout, name, root=recordings if name in OWN else "")


@pytest.fixture(scope="module")
def applied(tmp_path_factory) -> Callable[[str], Layout]:
    """What makes a repository that uses a profile, once for all tests that only read its params."""
    recordings = write_recordings(tmp_path_factory.mktemp("recordings"))

    @cache
    def of(name: str) -> Layout:
        layout = repository(tmp_path_factory.mktemp(name))
        apply(layout, recordings, name)
        shutil.copy(ROOT / "dvc.yaml", layout.root)
        return layout

    return of


def mn_weights(path: Path, *, width: float) -> None:
    """What `convert` writes of a MobileNet, with random values."""
    network = build("mobilenet", 527, {"width": width})
    path.parent.mkdir(exist_ok=True)
    feature = {"type": "mn", "width": width}
    metadata = {"network": {"name": "mobilenet", "width": width}, "feature": feature}
    save_tensors(path, network.state_dict(), {"earmark": json.dumps(metadata)})


def test_profiles_are_listed_with_their_purpose_and_without_the_base(layout):
    listed = profiles.available(layout)
    assert "base" not in listed
    assert set(listed) >= {"demo", "folder"}
    for purpose in listed.values():
        assert purpose
        assert not purpose.startswith("#")


def test_a_folder_without_profiles_says_where_they_are(tmp_path):
    for call in (profiles.available, lambda layout: use(layout, "demo")):
        with pytest.raises(UserError, match=r"no profiles in .*; run this in the folder of dvc"):
            call(Layout(tmp_path))


def test_an_unknown_profile_names_the_known_ones(layout):
    with pytest.raises(UserError, match=r"no profile 'dmo'; choose from .*demo.*folder"):
        use(layout, "dmo")
    assert not layout.params.exists()


@pytest.mark.parametrize("name", profiles.available(Layout(ROOT)))
def test_a_profile_writes_params_that_load(layout, applied, name):
    if not read_yaml(layout.root / "profiles" / f"{name}.yaml")["corpus"].get("root"):
        with pytest.raises(UserError, match="has no recordings; add --root DIR"):
            use(layout, name)
        if name not in OWN:
            return
    load_params(applied(name).params)


@pytest.mark.slow
@pytest.mark.parametrize("name", profiles.available(Layout(ROOT)))
def test_a_profile_is_sound_and_its_networks_read_their_features(applied, name):
    layout = applied(name)
    params = load_params(layout.params)
    assert option_problems(params) == []
    assert stage_problems(params, layout) == []


@pytest.mark.parametrize("name", profiles.available(Layout(ROOT)))
def test_only_the_systems_of_xu_and_ours_normalise_peaks(applied, name):
    papers = ("shan", "lederle", "chen", "lee", "speech_commands", "magnatagatune", "dcase")
    is_other = name.startswith((*papers, *PRETRAINED))  # which learned sound at its own level
    assert load_params(applied(name).params).trim.normalise == (not is_other)


def test_a_published_corpus_keeps_the_name_and_protocol_of_its_profile(layout, tmp_path):
    tree = tmp_path / "a folder of any name"
    corpus_trees.magnatagatune(tree)
    use(layout, "magnatagatune", root=tree)
    params = load_params(layout.params)
    assert (params.corpus.name, params.corpus.root) == ("magnatagatune", str(tree))
    assert (params.cv.scheme, params.cv.k, params.folds) == ("official", 2, [0])
    with pytest.raises(UserError, match=r"has no metadata/UrbanSound8K\.csv beside audio/fold1"):
        use(layout, "urbansound8k", root=tree)
    assert load_params(layout.params) == params


def test_weights_given_once_decide_type_size_and_checksum(layout, recordings, tmp_path):
    weights = tmp_path / "another place" / "mn.safetensors"
    mn_weights(weights, width=0.1)
    lines = use(layout, "pretrained", root=recordings, weights="another place/mn.safetensors",
                cwd=tmp_path)  # fmt: skip
    assert lines[0] == "features.backbone: mobilenet of mn.safetensors, 96 values"
    params = load_params(layout.params)
    pinned = {"weights": str(weights), "weights_sha256": sha256_of(weights)}
    assert params.features["backbone"].options == {"width": 0.1, **pinned}
    assert params.models["backbone"]["linear"].network.options["n_inputs"] == 96
    assert option_problems(params) == []
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"x")
    (problem,) = weight_problems(params, layout)
    assert "features.backbone.weights: " in problem
    assert "params.yaml says" in problem
    weights.write_bytes(whole)
    assert weight_problems(params, layout) == []


def test_a_network_that_is_trained_further_starts_from_the_weights(layout, recordings, tmp_path):
    mn_weights(tmp_path / "w" / "mn.safetensors", width=0.1)
    use(layout, "finetuned", root=recordings, weights=str(tmp_path / "w" / "mn.safetensors"))
    params = load_params(layout.params)
    entry = params.models["backbone_input"]["mn04"]
    assert entry.network.options == {"width": 0.1}
    assert weights_of(params, entry)[0] == str(tmp_path / "w" / "mn.safetensors")
    assert params.features["backbone_input"].type == "mn_logmel"
    assert weight_problems(params, layout) == option_problems(params) == []


def test_weights_that_are_missing_or_something_else_are_refused(layout, recordings, tmp_path):
    with pytest.raises(UserError, match=r"weights/mn04_as.safetensors: .* earmark download"):
        use(layout, "pretrained", root=recordings)
    with pytest.raises(UserError, match=r"--weights: this profile has no features\.backbone"):
        use(layout, "folder", root=recordings, weights="any")
    for content, problem in [
        (b"<!DOCTYPE html>", "no safetensors file .* earmark convert"),
        (safetensors({"a": np.zeros(1)}), "does not say what it is of; take weights of mn"),
        (safetensors({"a": np.zeros(1)}, note("soundnet", {})), "soundnet, which makes no embeddi"),
        (safetensors({"a": np.zeros(1)}, note("mobilenet", MN)), None),
    ]:
        (tmp_path / "w.safetensors").write_bytes(content)
        if problem:
            with pytest.raises(UserError, match=problem):
                use(layout, "pretrained", root=recordings, weights=str(tmp_path / "w.safetensors"))
            assert not layout.params.exists()
    use(layout, "pretrained", root=recordings, weights=str(tmp_path / "w.safetensors"))
    (problem,) = weight_problems(load_params(layout.params), layout)
    assert "none of its tensors is one of the network" in problem


MN = {"type": "mn", "width": 0.4}


def note(network: str, feature: dict[str, object]) -> dict[str, str]:
    return {"earmark": json.dumps({"network": {"name": network}, "feature": feature})}


def test_class_folders_are_found_and_folds_follow_k(layout, recordings):
    use(layout, "folder", root=recordings)
    params = load_params(layout.params)
    assert params.corpus.root == str(recordings)
    assert params.corpus.name == "my_recordings_2024"
    assert (params.corpus.adapter, params.corpus.table) == ("folder", "")
    assert params.cv.scheme == "stratified"
    assert params.folds == list(range(params.cv.k))


def test_a_root_is_found_from_the_shells_folder_and_kept_relative_inside_the_repository(
    layout, recordings
):
    use(layout, "folder", root=recordings.name, cwd=recordings.parent)
    assert load_params(layout.params).corpus.root == str(recordings)
    inside = layout.root / "data" / "mine"
    shutil.copytree(recordings, inside)
    use(layout, "folder", root="mine", cwd=inside.parent)
    assert load_params(layout.params).corpus.root == "data/mine"


def test_a_home_folder_is_expanded(layout, recordings, monkeypatch):
    monkeypatch.setenv("HOME", str(recordings.parent))
    use(layout, "folder", root=f"~/{recordings.name}")  # a shell leaves --root=~/x as it is
    assert load_params(layout.params).corpus.root == str(recordings)


def test_a_table_is_looked_for_in_the_root_and_then_in_the_shells_folder(layout, recordings):
    use(layout, "folder", root=recordings, table="labels.csv")
    assert load_params(layout.params).corpus.table == "labels.csv"
    write_table(recordings / "tables" / "other.csv", recordings, folds=0)
    use(layout, "folder", root=recordings, table="other.csv", cwd=recordings / "tables")
    assert load_params(layout.params).corpus.table == "tables/other.csv"
    write_table(recordings / "tables" / "labels.csv", recordings, folds=0)
    use(layout, "folder", root=recordings, table="labels.csv", cwd=recordings / "tables")
    assert load_params(layout.params).corpus.table == "labels.csv"
    use(layout, "folder", root=recordings, table=recordings / "labels.csv")
    assert load_params(layout.params).corpus.table == "labels.csv"


def test_a_table_outside_of_the_root_is_refused_even_through_a_link(layout, recordings):
    write_table(layout.root / "mine.csv", recordings, folds=0)
    (recordings / "link.csv").symlink_to(layout.root / "mine.csv")
    for table in ("mine.csv", "link.csv"):
        with pytest.raises(UserError, match=rf"--table {table}: is outside of .*; move it there"):
            use(layout, "folder", root=recordings, table=table)
    with pytest.raises(UserError, match=r"--table none\.csv: neither in .* nor in"):
        use(layout, "folder", root=recordings, table="none.csv")
    with pytest.raises(
        UserError, match="--table: its paths need a folder to start from; add --root"
    ):
        use(layout, "folder", table="mine.csv")
    with pytest.raises(UserError, match="--root nowhere: no such folder"):
        use(layout, "folder", root="nowhere")
    assert not layout.params.exists()


def test_official_folds_are_detected(layout, recordings):
    write_table(recordings / "folds.csv", recordings, folds=3)
    use(layout, "folder", root=recordings, table="folds.csv")
    params = load_params(layout.params)
    assert (params.cv.scheme, params.cv.k, params.folds) == ("official", 3, [1, 2, 3])


def test_folds_of_only_some_clips_are_not_official(layout, recordings):
    table = recordings / "folds.csv"
    write_table(table, recordings, folds=3)
    table.write_text(table.read_text().rstrip("123\n") + "\n")
    use(layout, "folder", root=recordings, table="folds.csv")
    assert load_params(layout.params).cv.scheme == "stratified"


@pytest.mark.parametrize(
    ("rates", "working", "f_max"),
    [
        ([22_050] * 3 + [44_100] * 2 + [48_000], 22_050, 11_025.0),
        ([44_100] * 6, 44_100, 22_050.0),
        ([48_000] * 6, 44_100, 22_050.0),
        ([16_000] * 6, 16_000, 8000.0),
        ([8000] * 4 + [4000] * 2, 8000, 4000.0),
        ([], 44_100, 22_050.0),
    ],
)
def test_a_folder_is_decoded_at_the_rate_of_most_of_its_recordings(
    layout, recordings, rates, working, f_max
):
    for path, rate in zip(sorted(recordings.glob("*/*.wav")), rates, strict=False):
        soundfile.write(path, np.zeros(10), rate)
    text = (layout.root / "profiles" / "folder.yaml").read_text()
    own = text.replace("  wave16k: null\n", "")  # with the base's waveform
    (layout.root / "profiles" / "own.yaml").write_text(own)
    lines = use(layout, "own", root=recordings)
    start = f"decode.sample_rate is {working} Hz, since"
    notes = [line for line in lines if line.startswith(start)]
    assert len(notes) == bool(rates)
    assert all(f"{rates.count(rate)} at {rate} Hz" in notes[0] for rate in rates)
    params = load_params(layout.params)
    assert params.decode.sample_rate == working
    options = params.features["logmel128"].options
    assert options["f_max_hz"] == f_max
    assert params.features["wave16k"].options["target_hz"] == min(16_000, working)
    assert options["hop_length"] == round(0.02 * working), "50 frames a second"
    assert option_problems(params) == []


@pytest.mark.parametrize(
    ("n_clips", "epochs"), [(1, 240), (400, 240), (1600, 120), (40_000, 24), (10**6, 20)]
)
def test_networks_train_for_fewer_epochs_on_more_clips(n_clips: int, epochs: int) -> None:
    entries = {"own": {"training": {"epochs": 240}}, "brief": {"training": {"epochs": 12}}}
    document = {"models": {"logmel": entries | {"shared": {"training": {}}}, "fusion": {}}}
    lines = own_recordings.fit_epochs(document, n_clips)
    assert entries == {
        "own": {"training": {"epochs": epochs}},
        "brief": {"training": {"epochs": 12}},
    }
    assert len(lines) == (epochs < 240)
    assert all(f"own: {epochs} epochs, since {n_clips:,} clips train" in line for line in lines)


def test_clips_of_the_test_set_are_none_that_train(
    layout: Layout, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_recordings, "USUAL_CLIPS", 3)
    paths = [path.relative_to(recordings) for path in sorted(recordings.glob("*/*.wav"))]
    rows = [
        f"{path},{path.parent.name},{'test' if 'dog' in str(path) else 'train'}" for path in paths
    ]
    (recordings / "split.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    lines = use(layout, "folder", root=recordings, table="split.csv")
    assert sum("since 6 clips train" in line for line in lines) == 1
    params = load_params(layout.params)
    assert recipe_of(params, params.models["logmel128"]["compact"]).epochs == round(240 / 2**0.5)


def test_first_and_last_stay_the_folds_of_a_profile_that_names_them(layout, recordings):
    folder = layout.root / "profiles" / "folder.yaml"
    paper = "\ncv:\n  scheme: first_last\nfolds: [first, last]\n"
    (layout.root / "profiles" / "paper.yaml").write_text(folder.read_text() + paper)
    use(layout, "paper", root=recordings)
    assert load_params(layout.params).folds == ["first", "last"]


def test_what_changed_is_reported_by_key(layout, recordings):
    first = use(layout, "demo")
    assert "corpus.name: absent -> demo" in first
    assert use(layout, "demo") == ["params.yaml: nothing changed"]
    text = layout.params.read_text().replace("mixup_alpha: 0.2", "mixup_alpha: 0.4")
    layout.params.write_text(text)
    assert use(layout, "demo") == ["model.mixup_alpha: 0.4 -> 0.2"]
    lines = use(layout, "folder", root=recordings)
    assert "corpus.adapter: fsdkaggle2018 -> folder" in lines
    assert "demo.synthetic.n_train: 360 -> absent" in lines


@pytest.mark.parametrize("broken", ["model: [1\n", "- 1\n", "", "a: 1\na: 2\n"])
def test_broken_params_are_replaced(layout, broken):
    layout.params.write_text(broken)
    assert "corpus.name: absent -> demo" in use(layout, "demo")
    load_params(layout.params)


def test_params_stay_as_they_were_when_a_profile_is_unsound(layout):
    use(layout, "demo")
    before = layout.params.read_bytes()
    unsound = "# Unsound.\ncorpus:\n  root: data\nmodel:\n  epohs: 3\n"
    (layout.root / "profiles" / "bad.yaml").write_text(unsound)
    with pytest.raises(UserError, match=r"model\.epohs: unknown key; did you mean epochs"):
        use(layout, "bad")
    assert layout.params.read_bytes() == before
    assert sorted(path.name for path in layout.root.iterdir()) == ["params.yaml", "profiles"]


def test_params_stay_as_they_were_when_the_disk_is_full(layout, monkeypatch):
    use(layout, "demo")
    before = layout.params.read_bytes()

    def half(path: Path, text: str, *_args: object, **_options: object) -> int:
        path.write_bytes(text[: len(text) // 2].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space left"):
        use(layout, "demo")
    assert layout.params.read_bytes() == before
    assert sorted(path.name for path in layout.root.iterdir()) == ["params.yaml", "profiles"]


def test_comments_of_the_base_survive(layout):
    use(layout, "esc10")  # which has every feature of the base
    text = layout.params.read_text()
    base = (layout.root / "profiles" / "base.yaml").read_text()
    assert text.startswith(base.splitlines()[0])
    comments = [line.partition("# ")[2] for line in base.splitlines() if "# " in line]
    assert len(comments) > 10
    assert [comment for comment in comments if comment not in text] == []
    assert "# Lee et al., section 2" in text  # and those of the profile come along


def test_params_are_laid_out_with_a_blank_line_before_each_section(layout):
    use(layout, "demo")
    lines = layout.params.read_text().splitlines()
    params = read_yaml(layout.params)
    for number, line in enumerate(lines):
        is_section = line.partition(":")[0] in params
        assert (lines[number - 1] == "") == (is_section and not line.startswith("seed:")), line
    assert not any("  #" in line.lstrip() for line in lines)
    base = (layout.root / "profiles" / "base.yaml").read_text().splitlines()
    assert [line for line in base if line.lstrip().startswith("#") and line not in lines] == []


@pytest.mark.parametrize(
    ("name", "folds"),
    [("demo", ["0", "1"]), ("xu2018", ["first", "last"]), ("esc10", ["1", "2"])],
)
def test_a_quick_profile_has_the_same_networks_with_few_folds_and_epochs(layout, name, folds):
    use(layout, name)
    usual = load_params(layout.params)
    profiles.use(layout, name, root="", table="", cwd=layout.root, quick=True)
    quick = load_params(layout.params)
    assert quick.fold_names == folds
    assert quick.cv.k == (2 if name == "demo" else usual.cv.k)
    epochs = {recipe_of(quick, entry).epochs for entry in entries_of(quick).values()}
    assert epochs == {profiles.QUICK_EPOCHS}
    usual_networks, networks = (
        {k: e.network for k, e in entries_of(p).items()} for p in (usual, quick)
    )
    assert networks == usual_networks
    assert quick.features == usual.features
