"""The error of a run for people: its traceback with the lines of their own code marked, and what to do next."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.failure import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FRAME: Final = re.compile(r'\s+File "(?P<file>[^"]+)", line \d+')
_OF_OTHERS: Final = ("site-packages", "dist-packages", "/lib/python", "\\lib\\", "<frozen", "/mainspring/")
NEXT_STEPS: Final[Mapping[ErrorClass, str]] = {
    ErrorClass.TRANSIENT: "This kind of trouble passes. Retry it; if it comes back, look at what the job calls.",
    ErrorClass.PERMANENT: "Another try would end the same way: correct the payload or the code, then run it again.",
    ErrorClass.TIMEOUT: "The job ran longer than its timeout: let it take more time, or give it less work at once.",
    ErrorClass.CANCELLED: "Somebody cancelled it: the events say who, and perhaps why.",
    ErrorClass.CRASH: "The process died with it, often for want of memory: look at the log of the worker.",
    ErrorClass.DEPENDENCY: "The service that does this work was not reached: see that it is up, then retry.",
    ErrorClass.UNKNOWN: "Start at the last marked line of the traceback, which is in your own code.",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a traceback.

    Attributes:
        text: It.
        is_own: Whether it is of the application's own code.
    """

    text: str
    is_own: bool


@dataclass(frozen=True, slots=True)
class ShownError:
    """An error.

    Attributes:
        type: The exception.
        message: What it says.
        code: Its stable code.
        lines: Its traceback.
        fingerprint: What errors alike have in common.
        next_step: What to do.
    """

    type: str
    message: str
    code: str
    lines: Sequence[Line]
    fingerprint: str
    next_step: str


def shown_error(error: Mapping[str, Any] | None) -> ShownError | None:
    """Return a stored error for people; None: there is none."""
    if not error:
        return None
    known = {kind.value: step for kind, step in NEXT_STEPS.items()}
    return ShownError(
        type=str(error.get("type") or "Error"),
        message=str(error.get("message") or ""),
        code=str(error.get("code") or ""),
        lines=marked(str(error.get("trace") or "")),
        fingerprint=str(error.get("fingerprint") or ""),
        next_step=known.get(str(error.get("class")), NEXT_STEPS[ErrorClass.UNKNOWN]),
    )


def marked(trace: str) -> list[Line]:
    r"""Return the lines of a traceback; a frame and the code below it are marked where they are not of a library.

    Example:
        >>> [line.is_own for line in marked('Traceback:\\n  File "jobs.py", line 3, in run\\n    fail()\\nError: no')]
        [False, True, True, False]
    """
    lines: list[Line] = []
    is_own = False
    for text in trace.splitlines():
        frame = _FRAME.match(text)
        if frame is not None:
            is_own = not any(mark in frame["file"] for mark in _OF_OTHERS)
        elif not text.startswith("    "):
            is_own = False
        lines.append(Line(text, is_own))
    return lines
