"""What happened to a run, and who did it: from its attempts and from the audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mainspring.web.words_run import RUN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mainspring.domain.execution import Attempt, Execution
    from mainspring.store.auditing.audit_entries import AuditEntry


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        at: When.
        words: What.
        state: By what state it is coloured; empty: none.
        actor: Who did it; empty: mainspring.
        reason: Why, as somebody said.
    """

    at: datetime
    words: str
    state: str = ""
    actor: str = ""
    reason: str = ""


def events(run: Execution, attempts: Sequence[Attempt], entries: Sequence[AuditEntry]) -> list[Event]:
    """Return what happened to a run, in its order."""
    told = [Event(run.created_at, RUN.asked_for, "queued", run.user_id or run.trigger.value)]
    for attempt in attempts:
        if attempt.started_at is not None:
            told.append(Event(attempt.started_at, RUN.began.format(number=attempt.number), "running"))
        if attempt.completed_at is not None and attempt.outcome is not None:
            words = RUN.attempt_ended.format(number=attempt.number, outcome=attempt.outcome.replace("_", " "))
            told.append(Event(attempt.completed_at, words, attempt.outcome))
    told += [_audited(entry) for entry in entries]
    if run.completed_at is not None and not attempts:
        told.append(Event(run.completed_at, run.status.value.capitalize(), run.status.value))
    return sorted(told, key=lambda event: event.at)


def _audited(entry: AuditEntry) -> Event:
    words = RUN.audited.get(entry.action, entry.action)
    if not entry.allowed:
        words = f"{words} ({RUN.denied})"
    return Event(entry.at, words, "", entry.actor, entry.reason or "")
