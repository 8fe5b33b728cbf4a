"""The whole of params.yaml."""

from typing import Annotated, Any

from pydantic import Field

from earmark.params.models import Extractor, Model, Student
from earmark.params.preparation import (
    ClassMixing,
    Corpus,
    CrossValidation,
    Decode,
    Feature,
    Fusion,
    LabelRounds,
    Round,
    Runtime,
    Trim,
)
from earmark.params.recipe import ModelRecipe, Recipe
from earmark.params.scoring import Ensemble, Evaluate, Inference, Timeline
from earmark.params.section import FilledText, Name, Section, Seed, Sha256, Text

# Official folds may have any number, such as a year.
FoldNumber = Annotated[int, Field(ge=0, le=9999)]


class Params(Section):
    """All sections; `models` are grouped by the feature that they read.

    Two groups are not features: models of `embedding` read what extractors make of patches, and
    models of `fusion` combine two trained backbones. The `student` stands under the feature that it
    reads, too; there is none or one. `unlabelled` is a folder of recordings that it learns beside
    the corpus, or NO_RECORDINGS, a file: DVC knows no dependency that may be missing.
    """

    seed: Seed
    runtime: Runtime
    corpus: Corpus
    demo: dict[Name, dict[str, Any]]
    decode: Decode
    trim: Trim
    cv: CrossValidation
    folds: Annotated[list[FoldNumber | Name], Field(min_length=1)]
    rounds: list[Round]
    label_rounds: LabelRounds
    augment: dict[Name, dict[str, Any]]
    class_mixing: ClassMixing
    features: dict[Name, Feature]
    fusion: Fusion
    model: ModelRecipe
    finetune: Recipe
    models: dict[Name, dict[Name, Model]]
    extractors: dict[Name, Extractor]
    weight_checksums: dict[FilledText, Sha256]
    extensions: FilledText
    inference: Inference
    ensemble: Ensemble
    student: dict[Name, Student]
    unlabelled: Text
    timeline: Timeline
    evaluate: Evaluate

    @property
    def fold_names(self) -> list[str]:
        """The folds to run, as in the names of files."""
        return [str(fold) for fold in self.folds]
