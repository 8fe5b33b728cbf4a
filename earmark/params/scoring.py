"""The sections of params.yaml for prediction, the ensemble and evaluation."""

from typing import Annotated, Literal

from pydantic import Field

from earmark.params.section import Count, FilledText, Section, SegmentSeconds, Share, Text

# They are divided by their sum, so that no weight has to be large.
MemberWeight = Annotated[float, Field(ge=0, le=1_000_000)]
# What models can be chosen and ranked by; earmark.evaluation.points says which fit a corpus.
Metric = Literal[
    "map_at_3", "accuracy", "macro_f1", "roc_auc", "mean_average_precision", "micro_f1"
]
# What a training may watch; in one piece, so that a refusal lists all of it.
Monitor = Literal[
    "loss",
    "map_at_3",
    "accuracy",
    "macro_f1",
    "roc_auc",
    "mean_average_precision",
    "micro_f1",
]
TagGroup = Annotated[list[FilledText], Field(min_length=1)]
Aggregation = Literal["confident_crop", "mean", "mean_of_random_crops"]
Crops = Literal["random", "cover"]  # a mean is of the crops that cover the clip
# What a model may name: best_out_of_fold becomes one of the others.
AggregationKey = Literal[Aggregation, "best_out_of_fold"]


class Inference(Section):
    """How many crops of a clip are predicted, and the probability at which confident_crop stops."""

    n_crops: Count
    confidence: Share


class Ensemble(Section):
    """The weights of the members (learned, equal, or given by member), and the mean over folds."""

    fold_mean: Literal["arithmetic", "geometric"]
    weights: Literal["learned", "equal"] | dict[Text, MemberWeight]


class Timeline(Section):
    """The segments of a timeline: their length, and from the start of one to that of the next."""

    window_seconds: SegmentSeconds
    hop_seconds: SegmentSeconds


class Evaluate(Section):
    """How predictions are scored."""

    metric: Metric
    n_resamples: Annotated[int, Field(ge=10, le=1_000_000)]  # then p is known to 0.001
    label_groups: dict[FilledText, TagGroup]  # name -> tags that are scored as one
    rejection_threshold: Share  # below it the answer is "unknown"; 0 is off
