"""What an entry of the audit log says was changed, fact by fact, as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import orjson

if TYPE_CHECKING:
    from mainspring.store.auditing.audit_entries import AuditEntry


class ChangedFact(NamedTuple):
    """One fact as it was and as it became; what is empty was not there.

    Attributes:
        name: Its name; empty where the entry names none.
        old: As it was.
        new: As it became.
    """

    name: str
    old: str
    new: str


def changed_facts(entry: AuditEntry) -> list[ChangedFact]:
    """Return what an entry tells of; a fact that stayed as it was is left out.

    Args:
        entry: Of the audit log.
    """
    before, after = _facts(entry.before), _facts(entry.after)
    names = dict.fromkeys([*before, *after])
    told = [ChangedFact(name, before.get(name, ""), after.get(name, "")) for name in names]
    return [fact for fact in told if fact.old != fact.new]


def _facts(stored: str | None) -> dict[str, str]:
    if stored is None:
        return {}
    said = orjson.loads(stored)
    facts = cast("dict[str, Any]", said) if isinstance(said, dict) else {"": said}
    return {name: _text(value) for name, value in facts.items()}


def _text(value: Any) -> str:  # noqa: ANN401 - JSON of whoever wrote the entry
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
