"""The whole of params.yaml."""

from typing import Annotated, Any

from pydantic import Field

from earmark.params.models import Extractor, Model
from earmark.params.preparation import (
    ClassMixing,
    Corpus,
    CrossValidation,
    Decode,
    Feature,
    Fusion,
    Runtime,
    Trim,
)
from earmark.params.recipe import Recipe
from earmark.params.scoring import Ensemble, Evaluate, Inference
from earmark.params.section import Name, Section


class Params(Section):
    """All sections, checked; `models` are grouped by the feature that they read.

    Two groups are no features: `embedding`, whose models read what extractors make of patches, and
    `fusion`, whose models combine two trained backbones.
    """

    seed: int
    runtime: Runtime
    corpus: Corpus
    demo: dict[Name, dict[str, Any]]
    decode: Decode
    trim: Trim
    cv: CrossValidation
    folds: Annotated[list[int | str], Field(min_length=1)]
    augment: dict[Name, dict[str, Any]]
    class_mixing: ClassMixing
    features: dict[Name, Feature]
    fusion: Fusion
    model: Recipe
    finetune: Recipe
    models: dict[Name, dict[Name, Model]]
    extractors: dict[Name, Extractor]
    extensions: Annotated[str, Field(min_length=1)]
    inference: Inference
    ensemble: Ensemble
    evaluate: Evaluate

    @property
    def fold_names(self) -> list[str]:
        """The folds that are run, as they stand in the names of files."""
        return [str(fold) for fold in self.folds]
