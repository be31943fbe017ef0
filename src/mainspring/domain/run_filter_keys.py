"""What can be asked of runs: the keys of the filter language, and what stands after each."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import Status, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAYLOAD: Final = "payload."
"""What the key of a payload field begins with; the rest is the way to it, such as `payload.filters.region`."""


class Kind(StrEnum):
    """What the values of a key are."""

    WORD = "word"
    """Any text; the run says exactly this."""
    CHOICE = "choice"
    """One of a few words."""
    IDENTIFIER = "identifier"
    INSTANT = "instant"
    """An age, such as `2h`, or a time; always compared."""
    DURATION = "duration"
    """Compared too."""
    COUNT = "count"
    TEXT = "text"
    """A part of what the run says, in capitals or not."""
    FIELD = "field"
    """The value of a field of the payload."""


KEYS: Final[Mapping[str, Kind]] = {
    "status": Kind.CHOICE,
    "job": Kind.WORD,
    "queue": Kind.WORD,
    "by": Kind.WORD,
    "tag": Kind.WORD,
    "trigger": Kind.CHOICE,
    "group": Kind.WORD,
    "type": Kind.WORD,
    "org": Kind.WORD,
    "created": Kind.INSTANT,
    "started": Kind.INSTANT,
    "ended": Kind.INSTANT,
    "duration": Kind.DURATION,
    "attempt": Kind.COUNT,
    "error": Kind.TEXT,
    "fingerprint": Kind.WORD,
    "id": Kind.IDENTIFIER,
}
CHOICES: Final[Mapping[str, Sequence[str]]] = {
    "status": tuple(status.value for status in Status),
    "trigger": tuple(trigger.value for trigger in Trigger),
}
JOB_NAME: Final = ""
"""The key of a bare word: a part of the name of the job."""


def kind_of(key: str) -> Kind | None:
    """Return what the values of a key are; None: there is no such key.

    Example:
        >>> kind_of("payload.reportType"), kind_of("jobb")
        (<Kind.FIELD: 'field'>, None)
    """
    if key == JOB_NAME:
        return Kind.TEXT
    return Kind.FIELD if key.startswith(PAYLOAD) and key != PAYLOAD else KEYS.get(key)
