"""What a handler says on its way, kept for Sentry in case it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentry_sdk.scope import Scope

    from mainspring.jobs.context import ContextSink, JobContext, LogLine
    from mainspring.observability.sentry import Sentry


class Breadcrumbs:
    """The sink of an attempt that Sentry watches: what passes is noted, and goes on to where it was to go.

    Args:
        sink: Where it was to go.
        sentry: The way to Sentry.
        scope: The attempt's.
    """

    def __init__(self, sink: ContextSink, sentry: Sentry, scope: Scope) -> None:
        self._sink = sink
        self._sentry = sentry
        self._scope = scope
        self._told: tuple[int | None, str | None] = (None, None)

    def log(self, context: JobContext[Any], line: LogLine) -> None:
        """Note a log line."""
        self._sentry.note(self._scope, "job.log", line.message, line.fields, level=line.level)
        self._sink.log(context, line)

    def progressed(self, context: JobContext[Any]) -> None:
        """Note a step, or what is said of one."""
        reported = context.reported
        told = reported.current_step, reported.message
        if told != self._told:  # steps and words, not every item
            self._told = told
            self._sentry.note(self._scope, "job.step", reported.message or "", steps_of(context))
        self._sink.progressed(context)

    def beat(self, context: JobContext[Any]) -> None:
        """Hand on a sign of life."""
        self._sink.beat(context)

    async def save_checkpoint(self, context: JobContext[Any], value: object) -> None:
        """Hand on a checkpoint."""
        await self._sink.save_checkpoint(context, value)


def steps_of(context: JobContext[Any]) -> dict[str, Any]:
    """Return how far a handler says that it is."""
    reported = context.reported
    return {"percent": reported.percent, "step": reported.current_step, "of": reported.total_steps}
