"""What the handler of a job must not do with exceptions and with cancellation (MS2xx, the first half)."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from mainspring.checking.rule import Rule, Severity, Sighting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mainspring.checking.handler_source import HandlerSource
    from mainspring.checking.rule import Subject

_EVERYTHING: Final = "BaseException"
_BROAD: Final = frozenset({"Exception", _EVERYTHING})
_CANCELLATION: Final = frozenset({"asyncio.CancelledError", "asyncio.exceptions.CancelledError"})
_STOPS: Final = ("cancelled", "raise_if_cancelled")


def _swallowed_exceptions(subject: Subject) -> Iterator[Sighting]:
    source = subject.source
    if source is None:
        return
    for handler in _handlers(source):
        if _caught(handler, source) & _BROAD and not (_raises(handler) or _tells_of_failure(handler, source)):
            yield Sighting(
                "it catches every exception and goes on: the run that failed is recorded as a success", handler.lineno
            )


def _swallowed_cancellation(subject: Subject) -> Iterator[Sighting]:
    source = subject.source
    if source is None:
        return
    for handler in _handlers(source):
        caught = _caught(handler, source)
        if (_EVERYTHING in caught or caught & _CANCELLATION) and not _raises(handler):
            yield Sighting(
                "it catches its cancellation and does not raise it again: it goes on although it was told to stop, and "
                "after ten seconds its execution goes on without it",
                handler.lineno,
            )


def _deaf_loops(subject: Subject) -> Iterator[Sighting]:
    source = subject.source
    if source is None or source.is_async or source.mentions(*_STOPS):
        return
    loop = next((node for node in source.nodes() if isinstance(node, (ast.For, ast.While))), None)
    if loop is not None:
        yield Sighting(
            "it runs on a thread, which nobody can stop from outside, and its loop never asks whether it is to stop",
            loop.lineno,
        )


def _handlers(source: HandlerSource) -> Iterator[ast.ExceptHandler]:
    return (node for node in source.nodes() if isinstance(node, ast.ExceptHandler))


def _caught(handler: ast.ExceptHandler, source: HandlerSource) -> set[str]:
    if handler.type is None:
        return {_EVERYTHING}
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {source.name_of(kind) for kind in kinds}


def _raises(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for node in ast.walk(handler))


def _tells_of_failure(handler: ast.ExceptHandler, source: HandlerSource) -> bool:
    """Whether it says in another way that something failed: as a result, or as a count of failed items."""
    for node in ast.walk(handler):
        if isinstance(node, ast.Call) and source.name_of(node.func).endswith(("JobResult", ".items")):
            return True
        if isinstance(node, ast.AugAssign):  # a count of failures that is told at the end
            return True
    return False


EXCEPTION_RULES: Final = (
    Rule(
        "MS201",
        "Swallowed exception",
        Severity.ERROR,
        "Let it go on, or catch what can be expected here by its own type; what is left has to be raised, returned as "
        "`JobResult(success=False, …)`, or counted with `ctx.items(failed=1)`.",
        _swallowed_exceptions,
    ),
    Rule(
        "MS202",
        "Swallowed cancellation",
        Severity.ERROR,
        "End `except asyncio.CancelledError:` with `raise`, and catch `Exception` instead of everything.",
        _swallowed_cancellation,
    ),
    Rule(
        "MS203",
        "A thread that cannot be stopped",
        Severity.WARNING,
        'Call `ctx.raise_if_cancelled()` in its loop, or declare it `async def`, or `executor="process"`, which can be '
        "killed.",
        _deaf_loops,
    ),
)
