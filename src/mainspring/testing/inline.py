"""Calls of coroutines that never have to wait, as those of the store in a simulated world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")


def finish_at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """Return what a coroutine returns whose first step is its last.

    Args:
        work: A coroutine that awaits nothing which is not there yet.
    """
    try:
        work.send(None)
    except StopIteration as done:
        return cast("Result", done.value)
    work.close()
    raise AssertionError("the coroutine had to wait: the store of a simulated world answers inline")
