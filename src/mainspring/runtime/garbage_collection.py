"""Keeps Python's garbage collector out of the way of a node."""

from __future__ import annotations

import functools
import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

_YOUNG_OBJECTS: Final = 10_000


@functools.cache
def relax() -> None:
    """Let the collector start more seldom, and leave alone what the program has loaded. Once a process.

    A node holds some ten thousand objects for the attempts that it runs, and frees them by counting references. With
    Python's own threshold of 700 new objects the collector walks them again and again and finds nothing, and now and
    then the 90,000 of the loaded program too, for 50 ms each time: a sixth of all that a plain job costs. A program
    that has turned the collector off, or set a threshold above ours, is left with its choice.
    """
    gc.freeze()
    young, middle, old = gc.get_threshold()
    if young:
        gc.set_threshold(max(young, _YOUNG_OBJECTS), middle, old)


@contextmanager
def paused() -> Generator[None]:
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
