"""params.yaml: its sections as typed declarations, and how it is read.

The modules section, preparation, recipe, models, scoring and params only declare: they hold no
default that decides a result and compute nothing, because the values of params.yaml are tracked and
the code of its declarations is not. The module roster computes on params.
"""

from earmark.params.models import (
    Extractor,
    Model,
    ModelInput,
    Network,
    Padding,
    Standardisation,
    Student,
)
from earmark.params.params import Params
from earmark.params.preparation import (
    CrossValidation,
    Feature,
    Fusion,
    LabelRounds,
    PitchFill,
    Runtime,
    SameClass,
    Scheme,
    Trim,
)
from earmark.params.recipe import MixupAt, ModelRecipe, Recipe
from earmark.params.scoring import Aggregation, AggregationKey, Crops, Evaluate, Metric
from earmark.params.section import OpenSection, Section

__all__ = [
    "Aggregation",
    "AggregationKey",
    "Crops",
    "CrossValidation",
    "Evaluate",
    "Extractor",
    "Feature",
    "Fusion",
    "LabelRounds",
    "Metric",
    "MixupAt",
    "Model",
    "ModelInput",
    "ModelRecipe",
    "Network",
    "OpenSection",
    "Padding",
    "Params",
    "PitchFill",
    "Recipe",
    "Runtime",
    "SameClass",
    "Scheme",
    "Section",
    "Standardisation",
    "Student",
    "Trim",
]
