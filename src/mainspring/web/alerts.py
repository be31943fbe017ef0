"""`/ui/alerts`: what is wrong, why, and who looks after it; and the times in which nobody is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from starlette.responses import HTMLResponse

from mainspring.domain.access import Permission
from mainspring.domain.alert import AlertRule, AlertState, Severity
from mainspring.domain.silence import SilenceKind
from mainspring.store.alerting import alert_pages, silences
from mainspring.store.alerting.alert_pages import AlertFilter, AlertPage
from mainspring.web.run_links import runs_path, term
from mainspring.web.visit import Visit
from mainspring.web.words_alerts import ALERTS

if TYPE_CHECKING:
    from mainspring.domain.silence import Silence
    from mainspring.store.engine.database import Connection

router = APIRouter()
_PAGE: Final = 50
_EVERY_STATE: Final = "any"


@dataclass(frozen=True, slots=True)
class AskedAlerts:
    """The filter above the alerts, as it stands in the address; empty: any.

    Attributes:
        state: A state, or `any`; empty: what is not resolved.
        page: Which page, from 1.
    """

    state: str = ""
    severity: str = ""
    rule: str = ""
    job: str = ""
    page: int = 1

    def wanted(self) -> AlertFilter:
        """Return which alerts are meant; a word that is none of the choices is no filter."""
        return AlertFilter(
            state=AlertState(self.state) if self.state in set(AlertState) else None,
            severity=Severity(self.severity) if self.severity in set(Severity) else None,
            rule=AlertRule(self.rule) if self.rule in set(AlertRule) else None,
            job_name=self.job or None,
            unresolved=not self.state,
        )

    def query(self, **changed: str) -> str:
        """Return the same filter for an address, with some of it changed."""
        fields = {"state": self.state, "severity": self.severity, "rule": self.rule, "job": self.job} | changed
        return urlencode({name: value for name, value in fields.items() if value})


def asked_alerts(
    state: Annotated[str, Query(max_length=20)] = "",
    severity: Annotated[str, Query(max_length=20)] = "",
    rule: Annotated[str, Query(max_length=40)] = "",
    job: Annotated[str, Query(max_length=200)] = "",
    page: Annotated[int, Query(ge=1, le=1_000)] = 1,
) -> AskedAlerts:
    """Return the filter of a request."""
    return AskedAlerts(state, severity, rule, job.strip().replace("\x00", ""), page)


Asked = Annotated[AskedAlerts, Depends(asked_alerts)]


@router.get("/alerts")
async def show_alerts(visit: Visit, asked: Asked) -> HTMLResponse:
    """Show what is wrong."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return await visit.page("alerts.html", title=ALERTS.title, topics="alerts", **await _alerts(visit, asked))


@router.get("/alerts/table")
async def show_alerts_anew(visit: Visit, asked: Asked) -> HTMLResponse:
    """Show it anew."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment("alerts/table.html", **await _alerts(visit, asked))


@router.get("/alerts/silences")
async def show_silences_anew(visit: Visit) -> HTMLResponse:
    """Show the times in which nobody is told anew."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    found = await visit.database.read(lambda connection: _silences(connection, visit))
    return visit.fragment("alerts/silences.html", silences=found, may_change=_may_change(visit), text=ALERTS)


async def _alerts(visit: Visit, asked: AskedAlerts) -> dict[str, Any]:
    def read(connection: Connection) -> tuple[AlertPage, list[Silence]]:
        skip = (asked.page - 1) * _PAGE
        found = alert_pages.alerts_page(connection, visit.scope, asked.wanted(), skip=skip, size=_PAGE)
        return found, _silences(connection, visit)

    found, kept = await visit.database.read(read)
    return {
        "alerts": found.alerts,
        "total": found.total,
        "older": asked.query(page=str(asked.page + 1)) if asked.page * _PAGE < found.total else None,
        "asked": asked,
        "silences": kept,
        "states": [(state.value, state.value) for state in AlertState] + [(_EVERY_STATE, ALERTS.every_state)],
        "severities": [severity.value for severity in Severity],
        "rules": [rule.value for rule in AlertRule],
        "runs_of": _runs_of,
        "may_change": _may_change(visit),
        "text": ALERTS,
    }


def _silences(connection: Connection, visit: Visit) -> list[Silence]:
    """Return what is planned or in force, those that begin last in front."""
    return [
        silence for kind in SilenceKind for silence in silences.find(connection, visit.scope, kind=kind, closed=False)
    ]


def _runs_of(job_name: str) -> str:
    return runs_path(term("job", job_name), "status:failed")


def _may_change(visit: Visit) -> bool:
    return visit.can(Permission.WRITE_ADMIN_SETTINGS)
