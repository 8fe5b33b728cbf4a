"""The tables of the five papers, as data; the figures are the papers' own, digit by digit."""

from experiments.tables import Column, Row, Small, Table

MAP = "map_at_3"
ALL_TEST = ("test", "all")
PUBLIC = ("test", "public")
# Two folds, whatever the folder of a small run has, and just enough updates to show that it runs.
TWO_FOLDS = ("cv.scheme=stratified", "cv.k=2", "folds=[0,1]")
BRIEF = ("model.epochs=2", "model.batch_size=8", "evaluate.n_resamples=100")


def _entry(key: str, network: str, input_: str, aggregation: str) -> str:
    """The setting that adds an entry to the roster."""
    parts = f"network:{{{network}}},input:{{{input_}}},training:{{}}"
    return f"+models.{key}={{{parts},prediction:{{aggregation:{aggregation}}}}}"


def _embedding(name: str, network: str, segment_patches: int | str) -> str:
    """The setting that adds a model on embeddings; bags that are too short are repeated."""
    input_ = f"segment_patches:{segment_patches},padding:tile"
    return _entry(f"embedding.{name}", network, input_, "mean")


_NO_ATTENTION = "~models.embedding.attention"  # the profile's


def _attention(*sizes: int) -> tuple[str, ...]:
    """Attention models that read so many segments, instead of the profile's."""
    network = "name:multilevel_attention,n_units:600,dropout:0.4"
    return (_NO_ATTENTION, *(_embedding(f"attention_{n}", network, n) for n in sizes))


def _compared(options: str, seconds: float) -> tuple[str, ...]:
    """The networks of section 2.2.1; without figures in the paper, so not in its ensemble."""
    names = ("cnn2d", "resnet2d")
    input_ = f"segment_seconds:{seconds}"
    return (
        *(
            _entry(f"logmel.{n}_logmel", f"name:{n}{options}", input_, "confident_crop")
            for n in names
        ),
        *(f"+ensemble.weights.{n}_logmel=0.0" for n in names),
    )


SHAN1 = Table(
    name="shan1",
    title="Shan & Ren (2018), table 1",
    profile="shan2018",
    download="fsdkaggle2018",
    columns=(Column("MAP@3, validation folds", ("out_of_fold",), MAP, over_folds=True),),
    experiments={"four": (), "compared": _compared("", 2.0)},
    rows=(
        Row("1D Conv (SoundNet)", ("0.874 ± 0.006",), "four", "soundnet"),
        Row("1D Conv (ResNet)", ("0.887 ± 0.010",), "four", "resnet1d"),
        Row("2D Conv (DenseNet, MFCC)", ("0.924 ± 0.006",), "four", "densenet_mfcc"),
        Row("2D Conv (DenseNet, Log-Mel)", ("0.938 ± 0.003",), "four", "densenet_logmel"),
        Row("ensemble 0.2, 0.2, 0.2, 0.4", (None,), "four"),
        Row("section 2.2.1: CNN without short-cuts", (None,), "compared", "cnn2d_logmel"),
        Row("section 2.2.1: ResNet", (None,), "compared", "resnet2d_logmel"),
    ),
    small=Small(
        (
            *TWO_FOLDS,
            *BRIEF,
            "models.logmel.densenet_logmel.network.growth=4",
            "+models.logmel.densenet_logmel.network.stem_channels=8",
            "models.logmel.densenet_logmel.input.segment_seconds=0.5",
            "models.mfcc.densenet_mfcc.network.growth=4",
            "+models.mfcc.densenet_mfcc.network.stem_channels=8",
            "models.mfcc.densenet_mfcc.input.segment_seconds=0.5",
            "models.wave44k.resnet1d.network.base_width=2",
            "models.wave44k.resnet1d.input.segment_samples=22050",
            "models.wave44k.resnet1d.training.batch_size=8",
            "+models.wave44k.soundnet.network.width=0.125",
            "models.wave44k.soundnet.training.batch_size=8",
        ),
        {"compared": _compared(",base_width:4", 0.5)},
    ),
    notes=("The paper's ± is not explained; ours is the deviation over the folds.",),
)

_SECONDS = (1, 2, 3)
_LEDERLE_FIGURES = {
    "audio": (
        ("0.920", "0.888", "0.894"),
        ("0.921", "0.884", "0.891"),
        ("0.935", "0.889", "0.898"),
    ),
    "spec": (
        ("0.930", "0.923", "0.924"),
        ("0.950", "0.928", "0.932"),
        ("0.935", "0.930", "0.931"),
    ),
    "comb": (
        ("0.955", "0.939", "0.942"),
        ("0.966", "0.944", "0.948"),
        ("0.956", "0.944", "0.946"),
    ),
}
LEDERLE1 = Table(
    name="lederle1",
    title="Lederle & Wilhelm (2018), table 1",
    profile="lederle2018",
    download="fsdkaggle2018",
    columns=(
        Column("Public", PUBLIC, MAP),
        Column("Private", ("test", "private"), MAP),
        Column("Total", ALL_TEST, MAP),
    ),
    experiments={"all": ()},
    rows=tuple(
        Row(
            f"cnn-{backbone}, {n} s",
            figures,
            "all",
            f"comb_{n}s" if backbone == "comb" else f"comb_{n}s_{backbone}",
        )
        for backbone, by_length in _LEDERLE_FIGURES.items()
        for n, figures in zip(_SECONDS, by_length, strict=True)
    ),
    small=Small(
        (
            *TWO_FOLDS,
            *BRIEF,
            *(f"+models.wave44k.comb_{n}s_audio.network.width=0.0625" for n in _SECONDS),
            *(f"+models.logmel.comb_{n}s_spec.network.width=0.0625" for n in _SECONDS),
        )
    ),
    notes=("The poster names no number of networks; our test figures combine those of 5 folds.",),
)

_DNN = (
    _NO_ATTENTION,
    _embedding("segment_dnn", "name:segment_dnn,n_units:600,dropout:0.4", 1),
    "model.mixup_alpha=0.0",
    "model.class_mixed_clips=false",
)
_UNTOUCHED = (  # a learning rate too small to change any weight: the extractor stays as it was
    "~extractors.unbalanced",
    "+extractors.balanced.training.epochs=1",
    "+extractors.balanced.training.base_lr=1.0e-30",
    "+extractors.balanced.training.max_lr=1.0e-30",
)
_XU_COLUMNS = (Column("MAP@3, Public", PUBLIC, MAP), Column("MAP@3, all test clips", ALL_TEST, MAP))
_XU_SMALL = (
    *TWO_FOLDS,
    *BRIEF,
    "class_mixing.pitch_fill.up_to=12",
    "finetune.epochs=1",
    "finetune.batch_size=8",
    *(
        f"+extractors.{name}.network.{option}"
        for name in ("balanced", "unbalanced")
        for option in ("width=0.0625", "fc=256")
    ),
)
_XU_NOTES = (
    "The paper combines its networks by the geometric mean; ours are combined so over the "
    "extractors, but over the two folds by the arithmetic mean.",
)
XU2 = Table(
    name="xu2",
    title="Xu, Smit & Kurimo (2018), table 2",
    profile="xu2018",
    download="fsdkaggle2018",
    columns=_XU_COLUMNS,
    experiments={
        "original": (*_DNN, *_UNTOUCHED),
        "first": (*_DNN, "folds=[first]"),
        "last": (*_DNN, "folds=[last]"),
        "both": _DNN,
    },
    rows=(
        Row("Baseline", ("0.704", None)),
        Row("Original VGGish", ("0.606", None), "original", "segment_dnn-balanced"),
        Row("Balanced First Part", ("0.870", None), "first", "segment_dnn-balanced"),
        Row("Balanced Last Part", ("0.864", None), "last", "segment_dnn-balanced"),
        Row("Balanced All", ("0.891", None), "both", "segment_dnn-balanced"),
        Row("Unbalanced First Part", ("0.858", None), "first", "segment_dnn-unbalanced"),
        Row("Unbalanced Last Part", ("0.872", None), "last", "segment_dnn-unbalanced"),
        Row("Unbalanced All", ("0.892", None), "both", "segment_dnn-unbalanced"),
        Row("Ensemble All", ("0.903", None), "both"),
    ),
    small=Small(_XU_SMALL, {"first": (*_DNN, "folds=[0]"), "last": (*_DNN, "folds=[1]")}),
    notes=_XU_NOTES,
)

_NO_PITCH = ("model.mixup_alpha=0.0", "model.class_mixed_clips=false")
XU3 = Table(
    name="xu3",
    title="Xu, Smit & Kurimo (2018), table 3",
    profile="xu2018",
    download="fsdkaggle2018",
    columns=_XU_COLUMNS,
    experiments={
        "a": _DNN,
        "b": (_NO_ATTENTION, _embedding("lstm", "name:lstm,n_units:600", "all"), *_NO_PITCH),
        "c": _NO_PITCH,
        "d": ("model.mixup_alpha=0.0",),
        "e": ("model.mixup_alpha=0.1",),
        "f": (),
        "g": ("model.mixup_alpha=0.4",),
        "h": ("model.mixup_alpha=1.0",),
    },
    rows=(
        Row("A: 1-Segment Multi-level", ("0.903", None), "a"),
        Row("B: LSTM", ("0.914", None), "b"),
        Row("C: 6-Segment Multi-level Attention", ("0.925", None), "c"),
        Row("D: C + Pitch shifting Augmentation", ("0.930", None), "d"),
        Row("E: D + Mixup (α = 0.1)", ("0.930", None), "e"),
        Row("F: D + Mixup (α = 0.2)", ("0.936", None), "f"),
        Row("G: D + Mixup (α = 0.4)", ("0.931", None), "g"),
        Row("H: D + Mixup (α = 1.0)", ("0.930", None), "h"),
    ),
    small=Small(_XU_SMALL),
    notes=_XU_NOTES,
)

_SIZES = (1, 2, 4, 6, 8, 10)
_XU4_FIGURES = ("0.917", "0.919", "0.931", "0.936", "0.929", "0.931")
XU4 = Table(
    name="xu4",
    title="Xu, Smit & Kurimo (2018), table 4",
    profile="xu2018",
    download="fsdkaggle2018",
    columns=_XU_COLUMNS,
    experiments={**{str(n): _attention(n) for n in _SIZES}, "all": _attention(*_SIZES)},
    rows=(
        *(
            Row(f"{n} segment{'s' if n > 1 else ''}", (figure, None), str(n))
            for n, figure in zip(_SIZES, _XU4_FIGURES, strict=True)
        ),
        Row("Ensemble All", ("0.931", None), "all"),
    ),
    small=Small(_XU_SMALL),
    notes=_XU_NOTES,
)

_MACRO = (
    ("Precision", "macro_precision"),
    ("Recall", "macro_recall"),
    ("F1", "macro_f1"),
)
CHEN1 = Table(
    name="chen1",
    title="Chen & Gupta (2018), table 1",
    profile="chen2018",
    download="msos",
    columns=tuple(Column(heading, ("out_of_fold",), metric) for heading, metric in _MACRO),
    experiments={"all": ()},
    rows=(
        Row("CBIR_1: CNN+Attention", ("0.91", "0.90", "0.91"), "all", "cbir_1"),
        Row("CBIR_2: CNN+Multi-Attention", ("0.92", "0.92", "0.91"), "all", "cbir_2"),
        Row("CBIR_3: CNN+Augmentation", ("0.91", "0.90", "0.90"), "all", "cbir_3"),
        Row("CBIR_4: CNN+FC", ("0.85", "0.85", "0.85"), "all", "cbir_4"),
    ),
    small=Small(
        (
            *TWO_FOLDS,
            *BRIEF,
            "folds=[0]",
            *(f"+models.patches.cbir_{n}.network.width=0.0625" for n in (1, 2, 3, 4)),
        )
    ),
    notes=("The paper's text gives CBIR_2 an F1 of 0.92 where its table has 0.91.",),
)

_LEE_SMALL = (
    *TWO_FOLDS,
    *BRIEF,
    "folds=[0]",
    "model.multistep_stages=2",
    "model.plateau_patience=1",
    "models.wave16k.rese2multi.training.plateau_patience=1",
    "+models.wave16k.samplecnn.network.width=0.0625",
    "+models.wave16k.rese2multi.network.width=0.0625",
)


def _lee(
    corpus: str,
    *,
    profile: str,
    download: str,
    metric: Column,
    figures: tuple[str, str, str],
    notes: tuple[str, ...],
    small: tuple[str, ...] = (),
) -> Table:
    """One of the three corpora of Lee et al.'s table 1, as a table of its own."""
    ours, improved, best = figures
    return Table(
        name=f"lee1_{corpus}",
        title="Lee et al. (2017), table 1",
        profile=profile,
        download=download,
        columns=(metric,),
        experiments={"both": ()},
        rows=(
            Row("SampleCNN", (ours,), "both", "samplecnn"),
            Row("ReSE-2+Multi", (improved,), "both", "rese2multi"),
            Row("State-of-the-art", (best,)),
        ),
        small=Small((*_LEE_SMALL, *small)),
        notes=notes,
    )


LEE1_MTAT = _lee(
    "mtat",
    profile="lee2017",
    download="magnatagatune",
    metric=Column("AUC", ALL_TEST, "roc_auc"),
    figures=("0.9033", "0.9091", "0.9113"),
    notes=("The state of the art is theirs too, at 22,050 Hz.",),
)
LEE1_SPEECH = _lee(
    "speech",
    profile="lee2017_speech",
    download="speech_commands_v0.01",
    metric=Column("Accuracy", ALL_TEST, "accuracy"),
    figures=("0.84", "0.86", "0.88"),
    notes=(
        "The paper scores 30 % of Kaggle's test clips, whose labels are not public; ours are the "
        "clips of testing_list.txt, which the paper trains on.",
    ),
    small=("~evaluate.label_groups", "+evaluate.label_groups={}"),
)
LEE1_DCASE = _lee(
    "dcase",
    profile="lee2017_dcase",
    download="dcase2017_task4",
    metric=Column("F-score (instance-based)", ALL_TEST, "micro_f1"),
    figures=("0.389", "0.451", "0.577"),
    notes=(
        "The paper gives no threshold; ours is one for all tags, tuned on the validation clips.",
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (SHAN1, LEDERLE1, XU2, XU3, XU4, CHEN1, LEE1_MTAT, LEE1_SPEECH, LEE1_DCASE)
}
