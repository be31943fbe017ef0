"""What may follow what somebody has typed into the box of the filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mainspring.domain.access import Permission
from mainspring.domain.run_filter_keys import CHOICES, KEYS, PAYLOAD
from mainspring.store.jobs import definitions
from mainspring.web.run_links import runs_address, term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.web.visit import PageVisit

_MOST: Final = 8
_EXAMPLES: Final = {
    "started": ("<1h", "<24h", "<7d", ">7d"),
    "ended": ("<1h", "<24h", "<7d"),
    "created": ("<1h", "<24h", "<7d"),
    "duration": (">30s", ">5m", "<1s"),
    "attempt": (">1",),
}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A way on.

    Attributes:
        words: What it adds.
        text: What the box then holds.
        address: The list that it finds; empty: a value is still missing.
    """

    words: str
    text: str
    address: str


async def suggestions(visit: PageVisit, text: str) -> list[Suggestion]:
    """Return what the last word of a text may become: keys, then values of its key."""
    before, word = _last_word(text)
    sign, word = ("-", word[1:]) if word.startswith("-") else ("", word)
    key, colon, typed = word.partition(":")
    if not colon:
        found = [name for name in (*KEYS, PAYLOAD) if name.startswith(key.lower())]
        words = [f"{sign}{name}" if name == PAYLOAD else f"{sign}{name}:" for name in found]
        return [Suggestion(each, f"{before}{each}", "") for each in words[:_MOST]]
    *others, last = typed.split(",")
    values = [value for value in await _values(visit, key) if last.lower() in value.lower() and value != last]
    return [_with_value(before, sign, key, others, value) for value in values[:_MOST]]


def _with_value(before: str, sign: str, key: str, others: Sequence[str], value: str) -> Suggestion:
    written = value if value[0] in "<>" else term(key, value).removeprefix(f"{key}:")
    words = f"{sign}{key}:{','.join([*others, written])}"
    return Suggestion(words, f"{before}{words} ", runs_address("/runs", q=f"{before}{words}"))


def _last_word(text: str) -> tuple[str, str]:
    at = 0
    is_quoted = False
    for place, character in enumerate(text):
        is_quoted ^= character == '"'
        if character.isspace() and not is_quoted:
            at = place + 1
    return text[:at], text[at:]


async def _values(visit: PageVisit, key: str) -> Sequence[str]:
    if key in CHOICES:
        return CHOICES[key]
    if key in _EXAMPLES:
        return _EXAMPLES[key]
    if key not in {"job", "queue", "group", "type"} or not visit.is_staff:
        return ()
    if not visit.can(Permission.READ_ADMIN_SETTINGS):
        return ()
    stored = await visit.database.read(lambda connection: definitions.find(connection, visit.environment))
    declared = [job.definition for job in visit.services.app.registry]
    of_key = {"job": "name", "queue": "queue", "group": "group", "type": "job_type"}[key]
    return sorted({str(getattr(each, of_key)) for each in (*stored, *declared)})
