"""Who changed a schedule last: for those who come second, and for what is to be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.domain.access import Scope
from mainspring.store.auditing import audit_pages
from mainspring.store.auditing.audit_pages import WantedEntries
from mainspring.web.clock import relative
from mainspring.web.words_schedules import CRON, SCHEDULES

if TYPE_CHECKING:
    from mainspring.store.auditing.audit_entries import AuditEntry
    from mainspring.web.schedule_rows import ShownSchedule
    from mainspring.web.visit import PageVisit


async def last_change(visit: PageVisit, name: str, action: str = "schedule.") -> AuditEntry | None:
    """Return what the audit says of the last change of a schedule; None: it knows of none.

    Args:
        visit: Whose environment it is.
        name: The job.
        action: How the actions begin that count.
    """
    wanted = WantedEntries(target_kind="job", target_id=name, action=action, allowed=True)
    scope = Scope(visit.environment)
    found = await visit.database.read(lambda connection: audit_pages.page(connection, scope, wanted, most=1))
    return found[0] if found else None


async def conflict_words(visit: PageVisit, row: ShownSchedule, asked: str) -> str:
    """Return who was faster, when, what is in force now, and what was asked for.

    Args:
        visit: Who came second.
        row: The schedule as it is now.
        asked: What is not in force therefore.
    """
    entry = await last_change(visit, row.name)
    state = SCHEDULES.was_enabled if row.is_on else SCHEDULES.was_disabled
    present = f"{row.schedule.text.expression} {row.schedule.text.timezone}, {state}"
    who, ago = ("?", "") if entry is None else (entry.actor, relative(entry.at, visit.now))
    return CRON.conflict.format(who=who, ago=ago, present=present, asked=asked)
