"""The source of a handler as its author wrote it, with the names that its module gives to what it imports."""

from __future__ import annotations

import ast
import functools
import linecache
import re
from typing import TYPE_CHECKING, Final

from mainspring.jobs.current_call import authors_function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Function = ast.FunctionDef | ast.AsyncFunctionDef

_IGNORED: Final = re.compile(r"#\s*mainspring:\s*ignore\b(?P<codes>[\sA-Z0-9,]*)")
_OWN_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


class HandlerSource:
    """A handler's function in its file.

    Args:
        file: The file.
        function: The function in its tree.
        imported: What the file calls its imports: from the name there to the full name.

    Attributes:
        file: The file.
    """

    def __init__(self, file: str, function: Function, imported: Mapping[str, str]) -> None:
        self.file = file
        self._function = function
        self._imported = imported

    @property
    def is_async(self) -> bool:
        """Whether it runs on the event loop."""
        return isinstance(self._function, ast.AsyncFunctionDef)

    @property
    def line(self) -> int:
        """Where it begins: the line of its `def`."""
        return self._function.lineno

    @property
    def returns(self) -> ast.expr | None:
        """The annotation of its result."""
        return self._function.returns

    def nodes(self) -> Iterator[ast.AST]:
        """Return everything in its body, in the order of the source, without functions and classes inside it."""
        for statement in self._function.body:
            yield from _own_nodes(statement)

    def calls(self, name: str) -> Iterator[ast.Call]:
        """Return the calls in its body of what has that full name, or of that method of anything (`.name`)."""
        for node in self.nodes():
            if isinstance(node, ast.Call) and _is_called(self.name_of(node.func), name):
                yield node

    def name_of(self, expression: ast.expr) -> str:
        """Return the full name of what an expression means, such as `time.sleep`; "" where it is no name.

        A call or subscript in the middle stands as `()`: `requests.Session().get`.
        """
        match expression:
            case ast.Name(id=name):
                return self._imported.get(name, name)
            case ast.Attribute(value=value, attr=name):
                before = self.name_of(value)
                return f"{before}.{name}" if before else ""
            case ast.Call(func=function):
                return f"{self.name_of(function)}()"
            case ast.Await(value=value):
                return self.name_of(value)
            case _:
                return ""

    def mentions(self, *words: str) -> bool:
        """Whether its body names one of these, as a name, an attribute or an argument."""
        return any(word in words for node in self.nodes() for word in _words(node))

    def ignores(self, line: int, code: str) -> bool:
        """Whether a comment on a line of the file says that a finding is meant: `# mainspring: ignore MS204`."""
        found = _IGNORED.search(linecache.getline(self.file, line))
        return found is not None and (not found["codes"].strip() or code in found["codes"])


def source_of(function: Callable[..., object]) -> HandlerSource | None:
    """Return the source of a function that an author wrote; None where it cannot be read, as of a lambda."""
    code = getattr(authors_function(function), "__code__", None)
    if code is None:
        return None
    read = _read(code.co_filename)
    if read is None:
        return None
    functions, imported = read
    found = functions.get((code.co_name, code.co_firstlineno))
    return None if found is None else HandlerSource(code.co_filename, found, imported)


@functools.cache
def _read(file: str) -> tuple[Mapping[tuple[str, int], Function], Mapping[str, str]] | None:
    """Return the functions of a file, by name and first line (that of the first decorator), and its imports."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return None
    functions: dict[tuple[str, int], Function] = {}
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                functions[node.name, first] = node
            case ast.Import(names=names):
                imported |= {alias.asname: alias.name for alias in names if alias.asname}
            case ast.ImportFrom(module=module, names=names):
                imported |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in names}
            case _:
                pass
    return functions, imported


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if isinstance(node, _OWN_SCOPES):
        return
    for child in ast.iter_child_nodes(node):
        yield from _own_nodes(child)


def _words(node: ast.AST) -> tuple[str, ...]:
    match node:
        case ast.Name(id=word) | ast.Attribute(attr=word) | ast.keyword(arg=str(word)):
            return (word,)
        case _:
            return ()


def _is_called(name: str, wanted: str) -> bool:
    return name.endswith(wanted) if wanted.startswith(".") else name == wanted
