"""What the cron editor shows while somebody types: fields, words, the next runs, and what is worth knowing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from mainspring.domain.cron_explanation import explain_rules
from mainspring.domain.cron_fields import read_expression
from mainspring.domain.cron_syntax import CronError
from mainspring.domain.english import in_words
from mainspring.domain.schedule import Cron
from mainspring.domain.schedule_consequences import Consequences, consequences_of
from mainspring.web.words_schedules import CRON

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mainspring.domain.schedule import Schedule

NEXT: Final = 6
_NAMES_SHOWN: Final = 3
_SHORT: Final = 5
_FIELD_NAMES: Final = ("minute", "hour", "day of month", "month", "day of week")
_CLOCK_CHANGE, _OTHERS, _DURATION, _RULE = "clock-hour-4", "stack-2", "hourglass", "info-circle"


@dataclass(frozen=True, slots=True)
class CronField:
    """A field of the expression, and whether it is wrong or another one than before."""

    label: str
    text: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class CronPreview:
    """What an expression would mean.

    Attributes:
        fields: Its fields; none where it has not five or six.
        error: Why it cannot be read; None: it can.
        words: When it fires.
        moments: The next runs: by the zone of the schedule, in UTC, and what clocks do to them.
        facts: What is worth knowing: an icon and a sentence each.
    """

    expression: str
    timezone: str
    fields: Sequence[CronField]
    error: str | None = None
    words: str = ""
    moments: Sequence[tuple[str, str, str | None]] = ()
    facts: Sequence[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def preview_of(
    expression: str,
    timezone: str,
    *,
    before: str,
    present: Schedule | None,
    others: Mapping[str, Schedule],
    queue: str,
    usual_duration: timedelta | None,
    now: datetime,
) -> CronPreview:
    """Return what an expression would mean, or why it means nothing.

    Args:
        expression: What somebody has typed.
        timezone: The zone that it is to be read in.
        before: The expression in force: fields that differ from it are marked.
        present: The schedule in force.
        others: The other schedules of the queue, by name.
        queue: The queue.
        usual_duration: How long a run usually takes.
        now: Where to begin.
    """
    try:
        cron = Cron(expression, timezone)
    except CronError as error:
        fields = _fields(expression, before, wrong=error.field)
        return CronPreview(expression, timezone, fields, error=str(error))
    found = consequences_of(cron, present=present, others=others, usual_duration=usual_duration, now=now, count=NEXT)
    zone = ZoneInfo(cron.tz)
    return CronPreview(
        expression,
        timezone,
        _fields(expression, before),
        words=found.words,
        moments=[
            (
                f"{moment.instant.astimezone(zone):%a %-d %b %Y, %H:%M}",
                f"{moment.instant.astimezone(UTC):%H:%M} UTC",
                moment.note,
            )
            for moment in found.moments
        ],
        facts=_facts(found, cron, queue, zone),
    )


def _fields(expression: str, before: str, wrong: str | None = None) -> list[CronField]:
    texts, earlier = expression.split(), before.split()
    labels, names = CRON.fields, _FIELD_NAMES
    if len(texts) == _SHORT + 1:
        labels, names = (CRON.second, *labels), ("second", *names)
    if len(texts) != len(labels):
        return []
    fields: list[CronField] = []
    for place, (label, name, text) in enumerate(zip(labels, names, texts, strict=True)):
        is_other = len(earlier) == len(texts) and earlier[place].upper() != text.upper()
        fields.append(CronField(label, text, "wrong" if name == wrong else "changed" if is_other else ""))
    return fields


def _facts(found: Consequences, cron: Cron, queue: str, zone: ZoneInfo) -> list[tuple[str, str]]:
    facts = [
        (_CLOCK_CHANGE, CRON.clock_change.format(day=f"{instant.astimezone(zone):%a %-d %b %Y}", effect=effect))
        for instant, effect in found.clock_changes
    ]
    facts.append((_OTHERS, _rate(found)))
    facts.append((_OTHERS, _met(found, queue, zone)))
    facts += [(_DURATION, f"{warning[:1].upper()}{warning[1:]}.") for warning in found.warnings]
    if found.usual_duration is None:
        facts.append((_DURATION, CRON.unknown_duration))
    elif found.shortest_gap is not None and not found.warnings:
        usual, gap = in_words(found.usual_duration), in_words(found.shortest_gap)
        facts.append((_DURATION, CRON.fits.format(usual=usual, gap=gap)))
    days_rule = explain_rules(read_expression(cron.expression))[0]
    facts.append((_RULE, f"{days_rule[:1].upper()}{days_rule[1:].removesuffix('.')}."))
    return facts


def _rate(found: Consequences) -> str:
    then = _times(found.per_week_then)
    if found.per_week_now is None:
        return CRON.first_rate.format(then=then)
    if found.per_week_now == found.per_week_then:
        return CRON.same_rate.format(count=then)
    return CRON.other_rate.format(then=then, now=_times(found.per_week_now))


def _times(count: float) -> str:
    return f"{count:,.0f} ×"


def _met(found: Consequences, queue: str, zone: ZoneInfo) -> str:
    names = sorted({name for met in found.met.values() for name in met})
    if not names:
        return CRON.meets_none.format(queue=queue)
    shown = ", ".join(names[:_NAMES_SHOWN]) + (" …" if len(names) > _NAMES_SHOWN else "")
    when = f"{min(found.met).astimezone(zone):%a %-d %b, %H:%M}"
    words = CRON.meets_one if len(names) == 1 else CRON.meets_many
    return words.format(count=len(names), queue=queue, names=shown, when=when)
