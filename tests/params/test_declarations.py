"""The declarations of params hold nothing that an output depends on.

Their values are tracked as params and their code is left out of the code digests. So they may
declare and refuse, but not decide or compute.
"""

import ast

import pytest

from tests.source_graph import ROOT

DECLARATIONS = ("section", "preparation", "recipe", "models", "scoring", "params")
# What stands for "nothing was given".
NOTHING = {"None", "''", "[]", "{}", "Field(default_factory=list)", "Field(default_factory=dict)"}
# Arguments of pydantic's Field and ConfigDict that only check; a default would decide.
CHECKS = {"ge", "gt", "le", "lt", "min_length", "max_length"}
CONFIG = {"extra", "frozen", "strict", "allow_inf_nan"}
# What a validator or a property may return: what it was given, or a field as dict or str.
RETURNED = {
    "self",
    "name",
    "text",
    "bounds",
    "dict(self.model_extra or {})",
    "[str(fold) for fold in self.folds]",
}


def faults(source: str) -> list[str]:
    """What a declaration module holds beyond declarations, one line each."""
    return [line for node in ast.parse(source).body for line in _faults_of(node)]


def _faults_of(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ImportFrom | ast.Import) or _is_docstring(node):
        return []
    if isinstance(node, ast.FunctionDef):
        return _faults_of_function(node)
    if isinstance(node, ast.ClassDef):
        return [line for child in node.body for line in _faults_of(child)]
    if isinstance(node, ast.AnnAssign):
        default = ast.unparse(node.value) if node.value else "None"
        extra = [] if default in NOTHING else [f"default {default}"]
        return extra + _faults_of_type(node.annotation)
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "model_config":
        return _faults_of_calls(node.value, {"ConfigDict": CONFIG})
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
        return _faults_of_type(node.value)
    return [ast.unparse(node)]


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _faults_of_type(annotation: ast.expr) -> list[str]:
    return _faults_of_calls(annotation, {"Field": CHECKS, "AfterValidator": set()})


def _faults_of_calls(node: ast.expr, allowed: dict[str, set[str]]) -> list[str]:
    """Calls other than those allowed, or with other arguments."""
    return [
        ast.unparse(call)
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        if not {str(word.arg) for word in call.keywords}
        <= allowed.get(ast.unparse(call.func), set())
        or ast.unparse(call.func) not in allowed
    ]


def _faults_of_function(function: ast.FunctionDef) -> list[str]:
    """A function may raise, call another check, or return what it was given."""
    extra = []
    for node in function.body:
        if _is_docstring(node):
            continue
        is_refusal = isinstance(node, ast.If) and _only_raises(node)
        is_check = isinstance(node, ast.Expr) and ast.unparse(node).startswith("check_")
        is_return = isinstance(node, ast.Return) and ast.unparse(node)[7:] in RETURNED
        if not (is_refusal or is_check or is_return):
            extra.append(f"{function.name}: {ast.unparse(node)}")
    return extra


def _only_raises(node: ast.If) -> bool:
    return [type(statement) for statement in node.body] == [ast.Raise] and not node.orelse


@pytest.mark.parametrize("module", DECLARATIONS)
def test_a_declaration_holds_no_value_and_no_computation(module):
    path = ROOT / "earmark" / "params" / f"{module}.py"
    assert faults(path.read_text()) == []


def test_the_package_itself_only_imports():
    source = (ROOT / "earmark" / "params" / "__init__.py").read_text()
    others = [n for n in ast.parse(source).body if not isinstance(n, ast.ImportFrom)]
    assert [ast.unparse(n).split(" = ")[0] for n in others[1:]] == ["__all__"]


@pytest.mark.parametrize(
    "source",
    [
        "EPOCHS = 3",
        "class A:\n    epochs: int = 3",
        "class A:\n    names: list[str] = ['a']",
        "class A:\n    epochs: Annotated[int, Field(default=3)]",
        "class A:\n    @property\n    def half(self):\n        return self.epochs / 2",
        "class A:\n    def check(self):\n        self.epochs = 3\n        return self",
        "def longer(name):\n    if name:\n        name = name + 'x'\n    return name",
        "Count = Annotated[int, BeforeValidator(round)]",
        "print(3)",
    ],
)
def test_a_value_or_a_computation_is_found(source):
    assert len(faults(source)) == 1
