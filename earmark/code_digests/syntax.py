"""What a source file computes and imports, apart from how it is written."""

import ast
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from earmark.errors import UserError

# Names from these serve annotations, or stand in the code that uses them.
_ANNOTATING = {"collections.abc", "numpy.typing", "types", "typing", "typing_extensions"}
_NOT_COMPUTED = {"annotation", "ctx", "kind", "returns", "simple", "type_comment", "type_params"}
_KEPT_ANNOTATIONS = {"ClassVar", "InitVar"}  # they decide what a dataclass takes as a field


@dataclass(frozen=True)
class Source:
    """A file's digest, every name that it may import as a module, and its plain dictionaries."""

    digest: str
    imports: frozenset[str]
    dictionaries: dict[str, dict[str, str]]


def digest_of(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()


def content_of(root: Path, path: str) -> bytes:
    """The bytes of a file of `root`.

    Raises:
        UserError: the file is not there.
    """
    try:
        return (root / path).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; code.json needs it") from error


def parse_source(content: bytes, path: str, without: frozenset[str] = frozenset()) -> Source:
    """What a file computes; module-level assignments to names in `without` stay out of its digest.

    Of what is not called *.py, such as a template, every byte counts.

    Raises:
        UserError: the file is called *.py and is no Python.
    """
    if not path.endswith(".py"):
        return Source(digest_of(content.decode(errors="surrogateescape")), frozenset(), {})
    return _parsed(content, path, without)


@cache
def _parsed(content: bytes, path: str, without: frozenset[str]) -> Source:
    try:
        tree = ast.parse(content, filename=path)
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from error
    writer = _Writer(package=path.split("/")[:-1])
    kept = [node for node in tree.body if not without & _targets(node)]
    writer.write(ast.Module(body=kept, type_ignores=[]))
    return Source(digest_of(" ".join(writer.words)), frozenset(writer.imports), _dictionaries(tree))


def _targets(node: ast.stmt) -> set[str]:
    """The names that a plain assignment binds."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _dictionaries(tree: ast.Module) -> dict[str, dict[str, str]]:
    """The module-level dict literals from text to text, by name."""
    found: dict[str, dict[str, str]] = {}
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if not isinstance(value, ast.Dict):
            continue
        try:
            content = ast.literal_eval(value)
        except ValueError:  # something is computed
            continue
        if all(isinstance(text, str) for item in content.items() for text in item):
            found |= dict.fromkeys(_targets(node), content)
    return found


class _Writer:
    """Writes a tree as words: no comments, docstrings, annotations or positions.

    Neither `ast.dump` (which leaves out empty fields since Python 3.13) nor `ast.unparse` (whose
    text differs between patch releases) serves: this text is the same on every Python whose
    grammar reads the file in the same way.
    """

    def __init__(self, package: list[str]) -> None:
        self.words: list[str] = []
        self.imports: set[str] = set()
        self._package = package

    def write(self, value: object) -> None:
        match value:
            case None | []:
                pass
            case list():
                self.words.append("[")
                for one in value:
                    self.words.append("-") if one is None else self.write(one)
                self.words.append("]")
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass  # a docstring, or nothing at all
            case ast.If() if ast.unparse(value.test).endswith("TYPE_CHECKING"):
                for one in value.orelse:
                    self.write(one)
            case ast.ClassDef():
                self._write_class(value)
            case ast.AnnAssign():
                if value.value is not None:  # `x: int = 1` computes what `x = 1` does
                    self._write_fields(ast.Assign(targets=[value.target], value=value.value))
            case ast.Import() | ast.ImportFrom():
                self._write_import(value)
            case ast.AST():
                self._write_fields(value)
            case _:
                self.words.append(repr(value))

    def _write_fields(self, node: ast.AST) -> None:
        self.words += ["(", type(node).__name__]
        for name, value in ast.iter_fields(node):
            if value not in (None, []) and name not in _NOT_COMPUTED:
                self.words.append(name)
                self.write(value)
        self.words.append(")")

    def _write_class(self, node: ast.ClassDef) -> None:
        """The fields of a dataclass are its annotated names, with values or without, in order."""
        for one in node.body:
            if isinstance(one, ast.AnnAssign):
                outer = one.annotation
                outer = outer.value if isinstance(outer, ast.Subscript) else outer
                kept = ast.unparse(outer).split(".")[-1]
                mark = kept if kept in _KEPT_ANNOTATIONS else "field"
                self.words += [mark, ast.unparse(one.target)]
        self._write_fields(node)

    def _write_import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            self.imports |= {part for alias in node.names for part in _prefixes(alias.name)}
            self._write_fields(node)
            return
        # one dot is the file's own package, each further dot one above
        above = self._package[: len(self._package) + 1 - node.level] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        # what is imported from a package may be a module of it
        self.imports |= {part for a in node.names for part in _prefixes(f"{module}.{a.name}")}
        if module not in _ANNOTATING:
            self._write_fields(node)


def _prefixes(name: str) -> set[str]:
    """`a`, `a.b` and `a.b.c`: importing a module runs every package above it."""
    parts = name.split(".")
    return {".".join(parts[: n + 1]) for n in range(len(parts))}
