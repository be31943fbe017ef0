"""`/ui/audit`: who did or was denied what, and whether the log is what was written."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import HTMLResponse, Response

from mainspring.domain.access import Permission
from mainspring.reports.formulas import harmless_text
from mainspring.security.audit_chain import BrokenChainError, verify_store
from mainspring.security.secret_key import Purpose
from mainspring.store.auditing import audit_pages
from mainspring.store.auditing.audit_pages import WantedEntries
from mainspring.web.audit_log_filter import AuditFilter, audit_filter
from mainspring.web.visit import ActingVisit, Visit
from mainspring.web.words_audit import AUDIT

if TYPE_CHECKING:
    from mainspring.store.auditing.audit_entries import AuditEntry
    from mainspring.store.auditing.audit_pages import ChainState
    from mainspring.store.engine.database import Connection

router = APIRouter()
_PAGE: Final = 50
_MOST_EXPORTED: Final = 10_000
_COLUMNS: Final = (
    "at", "actor", "actor_kind", "organization_id", "action", "target_kind", "target_id", "allowed", "reason", "before",
    "after", "request_id", "address", "id",
)  # fmt: skip
Filter = Annotated[AuditFilter, Depends(audit_filter)]


@router.get("/audit")
async def audit_log(visit: Visit, asked: Filter) -> HTMLResponse:
    """Show the log."""
    await visit.require(Permission.VIEW_AUDIT)
    wanted, problem = _wanted(visit, asked)

    def read(connection: Connection) -> tuple[list[AuditEntry], ChainState]:
        found = audit_pages.page(connection, visit.scope, wanted, most=_PAGE + 1)
        return found, audit_pages.chain_state(connection)

    entries, chain = await visit.database.read(read)
    return await visit.page(
        "audit.html",
        title=AUDIT.title,
        entries=entries[:_PAGE],
        older=asked.query(before=str(entries[_PAGE - 1].id)) if len(entries) > _PAGE else None,
        asked=asked,
        problem=problem,
        chain=chain,
        verdict=None,
        text=AUDIT,
    )


@router.get("/audit/export.csv")
async def export(visit: Visit, asked: Filter) -> Response:
    """Send what the filter holds as a file, the newest 10,000 entries."""
    await visit.require(Permission.VIEW_AUDIT)
    wanted = replace(_wanted(visit, asked)[0], before=None)
    entries = await visit.database.read(
        lambda connection: audit_pages.page(connection, visit.scope, wanted, most=_MOST_EXPORTED)
    )
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return Response(_csv(entries), media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/audit/verify")
async def verify(visit: ActingVisit) -> HTMLResponse:
    """Walk along the whole chain, and say what was found."""
    await visit.require(Permission.VIEW_AUDIT)
    key = visit.services.secret_key.derive(Purpose.AUDIT)
    try:
        verified = await verify_store(visit.database, key)
    except BrokenChainError as error:
        verdict, is_intact = AUDIT.broken.format(explanation=error), False
    else:
        verdict, is_intact = (
            AUDIT.verified.format(sequence=verified.head.sequence, actor=visit.actor.subject, entries=verified.entries),
            True,
        )
    chain = await visit.database.read(audit_pages.chain_state)
    return visit.fragment("audit/chain.html", chain=chain, verdict=verdict, is_intact=is_intact, text=AUDIT)


def _wanted(visit: Visit, asked: AuditFilter) -> tuple[WantedEntries, str | None]:
    """Return which entries are wanted; where a time cannot be read, nothing, and why."""
    try:
        return asked.wanted(visit.clock.zone()), None
    except ValueError:
        typed = asked.since or asked.until or asked.before
        return WantedEntries(action="\x7f"), f"{typed!r} {AUDIT.bad_time}"


def _csv(entries: list[AuditEntry]) -> str:
    written = io.StringIO(newline="")
    rows = csv.writer(written)
    rows.writerow(_COLUMNS)
    for entry in entries:
        rows.writerow([harmless_text(_cell(getattr(entry, column))) for column in _COLUMNS])
    return written.getvalue()


def _cell(value: object) -> str:
    return "" if value is None else str(value)
