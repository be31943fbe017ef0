"""The answer to "why did it not run?": what became of a due instant, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.domain.firing_policy import ON_TIME, TickOutcome, TickReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.domain.firing_policy import Tick

_WORDS: Final[Mapping[tuple[TickOutcome, TickReason | None], str]] = {
    (TickOutcome.FIRED, None): "on time",
    (TickOutcome.FIRED, TickReason.LATE): f"late: nobody could fire it within {ON_TIME.seconds} seconds of its time",
    (TickOutcome.FIRED, TickReason.STARTUP): "the application started",
    (TickOutcome.FIRED, TickReason.BACKFILL): "somebody asked for it afterwards",
    (TickOutcome.COALESCED, TickReason.LATE): "nobody could fire it in time, and one later run stands for it",
    (TickOutcome.COALESCED, TickReason.OVERLAP): "a later run that was due at once took its place",
    (TickOutcome.COALESCED, TickReason.STARTUP): "another node started at the same time",
    (TickOutcome.SKIPPED, TickReason.OVERLAP): "the run before it had not ended",
    (TickOutcome.SKIPPED, TickReason.PAUSED): "the schedule was paused",
    (TickOutcome.SKIPPED, TickReason.ALL_PAUSED): "somebody had paused all schedules",
    (TickOutcome.SKIPPED, TickReason.DISABLED): "the schedule was disabled",
    (TickOutcome.SKIPPED, TickReason.CONDITION): "the job's condition said no",
    (TickOutcome.SKIPPED, TickReason.CONDITION_ERROR): "the job's condition failed; the log of the node says how",
    (TickOutcome.SKIPPED, TickReason.OUTSIDE_WINDOW): "it lies before the schedule begins or after it ends",
    (TickOutcome.SKIPPED, TickReason.NONEXISTENT_DAY): "the clocks of its time zone left this day out",
    (TickOutcome.SKIPPED, TickReason.SCHEDULE_CHANGED): "the schedule was changed before its condition was asked",
    (TickOutcome.MISSED, TickReason.MISFIRE_POLICY): "nobody could fire it in time, and the job does not catch up",
    (TickOutcome.MISSED, TickReason.CATCH_UP_WINDOW): "nobody could fire it in time, and it is too old to catch up",
    (TickOutcome.MISSED, TickReason.CATCH_UP_LIMIT): "nobody could fire it in time, and newer ones reached the limit",
    (TickOutcome.MISSED, TickReason.SCHEDULE_CHANGED): "nobody had fired it when the schedule was changed",
    (TickOutcome.MISSED, TickReason.NOT_STARTED): "cron, or who else was to start it, did not; or could not tell of it",
}


def explain(tick: Tick) -> str:
    """Return why an instant came out as it did.

    Example:
        >>> from datetime import UTC, datetime
        >>> from mainspring.domain.firing_policy import Tick
        >>> explain(Tick(datetime(2027, 1, 1, tzinfo=UTC), TickOutcome.SKIPPED, TickReason.OVERLAP))
        'the run before it had not ended'
    """
    return _WORDS.get((tick.outcome, tick.reason)) or f"{tick.reason}"
