"""The sections of params.yaml that say how crops become answers, and how these are scored."""

from typing import Annotated, Literal

from pydantic import Field

from earmark.params.section import Count, NotNegative, Section, Share

# The figures that a model can be chosen and ranked by; the last three are for multi-label corpora.
Metric = Literal[
    "map_at_3", "accuracy", "macro_f1", "roc_auc", "mean_average_precision", "micro_f1"
]
Aggregation = Literal["confident_crop", "mean"]


class Inference(Section):
    n_crops: Count
    confidence: Share


class Ensemble(Section):
    weights: Literal["learned", "equal"] | dict[str, NotNegative]


class Evaluate(Section):
    metric: Metric
    n_resamples: Annotated[int, Field(ge=10)]
    label_groups: dict[str, list[str]]  # name -> tags that count as one when scored
    rejection_threshold: Share  # a most likely tag below it is answered "unknown"; 0: never
