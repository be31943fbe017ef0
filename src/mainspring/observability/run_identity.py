"""Whose run it is: what every log line and span of a run says about it."""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Final

# W3C Trace Context, Level 1, §3.2: version "00", trace id, parent id, flags. https://www.w3.org/TR/trace-context/
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(slots=True)
class RunIdentity:
    """One run of a job, as log lines and spans name it; what is None is left out of them.

    Attributes:
        job: The job's name.
        execution: The id of the execution, where the run is an attempt at one.
        attempt: Which try at the execution it is, from 1.
        trigger: Why the execution was made, in the words of `Trigger`.
        node: The name of the node that runs it.
        traceparent: The trace context of whoever asked for it (W3C `traceparent`); the run's span joins it.
        service: The service that carries it out, where that is another program.
        depth: How many other runs it is inside of.
        as_json: The beginning of its JSON log lines after the message, once one was written: it has two at least.
    """

    job: str
    execution: str | None = None
    attempt: int | None = None
    trigger: str | None = None
    node: str | None = None
    traceparent: str | None = None
    service: str | None = None
    depth: int = 0
    as_json: str | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def of_a_run(cls, job: str) -> RunIdentity:
        """Return who runs `job` here: by itself, or inside another run, whose execution it then belongs to."""
        outer = current_run.get()
        return cls(job) if outer is None else replace(outer, job=job, traceparent=None, depth=outer.depth + 1)

    @property
    def incoming_trace_id(self) -> str | None:
        """The trace id of `traceparent`, 32 hexadecimal digits; None where there is none or it is malformed."""
        match = _TRACEPARENT.fullmatch(self.traceparent) if self.traceparent else None
        return match[1] if match else None


current_run: Final[ContextVar[RunIdentity | None]] = ContextVar("mainspring_current_run", default=None)
"""The run that the caller is part of: how a log record of the product finds the execution it belongs to."""
