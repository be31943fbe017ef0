"""Sets Python up for a node: its garbage collector stays out of the way, and its threads take turns soon."""

from __future__ import annotations

import functools
import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

_YOUNG_OBJECTS: Final = 10_000
_TURN_SECONDS: Final = 0.001
_PYTHONS_TURN_SECONDS: Final = 0.005


@functools.cache
def suit_a_node() -> None:
    """Set Python up for running many attempts. Once a process; what a program has chosen itself is left alone."""
    _collect_seldom()
    _take_turns_soon()


def _collect_seldom() -> None:
    """Let the collector start more seldom, and leave alone what the program has loaded.

    A node holds some ten thousand objects for the attempts that it runs, and frees them by counting references. With
    Python's own threshold of 700 new objects the collector walks them again and again and finds nothing, and now and
    then the 90,000 of the loaded program too, for 50 ms each time: a sixth of all that a plain job costs. A program
    that has turned the collector off, or set a threshold above ours, is left with its choice.
    """
    gc.freeze()
    young, middle, old = gc.get_threshold()
    if young:
        gc.set_threshold(max(young, _YOUNG_OBJECTS), middle, old)


def _take_turns_soon() -> None:
    """Let a thread that waits for the interpreter have it after one millisecond instead of five.

    The thread of the database gives the interpreter away for each statement and wants it back for the next one, which a
    busy event loop lets it have only when its turn is over. A batch of ends has several statements: with turns of five
    milliseconds it waits longer than it works, and 16 % fewer jobs are drained.
    """
    if sys.getswitchinterval() == _PYTHONS_TURN_SECONDS:
        sys.setswitchinterval(_TURN_SECONDS)


@functools.cache
def leave_alone_once(part: str) -> None:
    """Let the collector leave alone what a part of the program has loaded. Once a process for each part.

    The doors and the dashboard are 40,000 objects and the modules behind them many more, loaded after a node was set
    up: without this the collector walks them all now and then, and each time an answer is 150 to 200 ms late.

    Args:
        part: The name of the part; a second call with it does nothing.
    """
    del part  # the cache alone needs it
    gc.freeze()


@contextmanager
def collecting_nothing() -> Generator[None]:
    """Collect nothing while a program is loaded: what it makes then stays, and looking for waste is a tenth of a start.

    A program that has turned the collector off itself is left with its choice.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
