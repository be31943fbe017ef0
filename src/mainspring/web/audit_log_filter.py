"""The filter of the audit log, as it stands in its address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Query

from mainspring.store.auditing.audit_pages import WantedEntries

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST: Final = 500
_OUTCOMES: Final = {"allowed": True, "denied": False}


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What somebody typed into the fields above the log; empty: any.

    Attributes:
        target: `kind:id`, or a kind alone.
        since: A date or a time, in the zone of the visitor's clock.
        until: The same; a date alone is meant with all of its day before it.
        outcome: `allowed` or `denied`.
        before: The cursor: entries older than this id.
    """

    actor: str = ""
    action: str = ""
    target: str = ""
    since: str = ""
    until: str = ""
    outcome: str = ""
    before: str = ""

    def wanted(self, zone: tzinfo) -> WantedEntries:
        """Return which entries are meant.

        Args:
            zone: In which times are read that name none.

        Raises:
            ValueError: A time or the cursor cannot be read.
        """
        kind, _, target_id = self.target.partition(":")
        return WantedEntries(
            actor=self.actor or None,
            action=self.action or None,
            target_kind=kind or None,
            target_id=target_id or None,
            allowed=_OUTCOMES.get(self.outcome),
            since=_instant(self.since, zone),
            until=_instant(self.until, zone),
            before=UUID(self.before) if self.before else None,
        )

    def query(self, **changed: str) -> str:
        """Return the same filter for an address, with some of it changed."""
        fields: Mapping[str, str] = {name: getattr(self, name) for name in self.__slots__} | changed
        return urlencode({name: value for name, value in fields.items() if value})


def audit_filter(
    *,
    actor: Annotated[str, Query(max_length=_LONGEST)] = "",
    action: Annotated[str, Query(max_length=_LONGEST)] = "",
    target: Annotated[str, Query(max_length=_LONGEST)] = "",
    since: Annotated[str, Query(max_length=40)] = "",
    until: Annotated[str, Query(max_length=40)] = "",
    outcome: Annotated[str, Query(max_length=10)] = "",
    before: Annotated[str, Query(max_length=40)] = "",
) -> AuditFilter:
    """Return the filter of a request."""
    texts = (actor, action, target, since, until, outcome, before)
    return AuditFilter(*(text.strip().replace("\x00", "") for text in texts))


def _instant(text: str, zone: tzinfo) -> datetime | None:
    if not text:
        return None
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)
