"""The benchmark of an empty `dvc repro` names parts of the DVC that is installed."""

from dvc.dependency.param import ParamsDependency
from dvc.dvcfile import FileMixin
from dvc.output import Output
from dvc.parsing import DataResolver
from dvc.rwlock import rwlock
from dvc.stage.loader import StageLoader

from benchmarks.no_op import PARTS


def test_the_parts_of_an_empty_repro_are_functions_of_this_dvc() -> None:
    functions = [
        *(ParamsDependency.status, FileMixin._load, DataResolver.resolve_one),
        *(StageLoader.load_stage, rwlock, Output.status),
    ]
    assert {function.__qualname__ for function in functions} == PARTS.keys()
