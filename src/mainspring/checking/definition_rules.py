"""What a job has to declare (MS1xx)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.checking.rule import Rule, Severity, Sighting
from mainspring.domain.job import DEFAULT_TIMEOUT
from mainspring.domain.thresholds import Thresholds
from mainspring.locks.distributed_lock import declared_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mainspring.checking.rule import Subject

_LONG: Final = timedelta(minutes=10)
_SHORTEST_TTL: Final = 5.0
_LONGEST_TTL: Final = 600.0
_MARKS_OF_IDEMPOTENCE: Final = (
    "checkpoint", "last_checkpoint", "execution_id", "fence", "idempotency_key", "unique_key", "tx",
)  # fmt: skip


def _undescribed(subject: Subject) -> Iterator[Sighting]:
    if not subject.definition.description.strip():
        yield Sighting("it has no description: who is woken by it at night does not know what it does")


def _timeout_not_said(subject: Subject) -> Iterator[Sighting]:
    if subject.definition.timeout == DEFAULT_TIMEOUT:
        yield Sighting("its timeout is the default of an hour, which nobody has chosen: one that hangs holds on for it")


def _retry_not_said(subject: Subject) -> Iterator[Sighting]:
    if subject.is_scheduled and subject.definition.retry is None:
        yield Sighting("it runs by a schedule and does not say whether a failure is tried again: it is not")


def _thresholds_not_said(subject: Subject) -> Iterator[Sighting]:
    if subject.is_scheduled and subject.definition.thresholds == Thresholds():
        yield Sighting("it runs by a schedule and does not say when its silence or its failures are worth an alert")


def _runs_may_overlap(subject: Subject) -> Iterator[Sighting]:
    definition, written = subject.definition, subject.job.written
    if not subject.is_scheduled or definition.running_limit == 1:
        return
    if written is None or declared_lock(written) is None:
        most = definition.running_limit
        many = "any number" if most is None else f"{most}"
        yield Sighting(f"it runs by a schedule, {many} of its runs may be at work at once, and no lock parts them")


def _unfit_ttl(subject: Subject) -> Iterator[Sighting]:
    lock = None if subject.job.written is None else declared_lock(subject.job.written)
    if lock is None:
        return
    if lock.ttl < _SHORTEST_TTL:
        yield Sighting(f"its lock {lock.key!r} lives {lock.ttl:g} s without a renewal: a pause of the machine ends it")
    elif lock.ttl > _LONGEST_TTL:
        yield Sighting(f"its lock {lock.key!r} keeps the others out for {lock.ttl:g} s when its holder dies")


def _begins_again_from_nothing(subject: Subject) -> Iterator[Sighting]:
    definition, source = subject.definition, subject.source
    retries = definition.retry.max_retries if definition.retry is not None else 0 if subject.is_scheduled else 3
    if source is None or not retries or definition.timeout < _LONG or source.mentions(*_MARKS_OF_IDEMPOTENCE):
        return
    yield Sighting(
        f"it may run for {definition.timeout} and is tried again {retries} times, each time from its beginning: "
        "nothing in it says what is done already"
    )


DEFINITION_RULES: Final = (
    Rule(
        "MS101",
        "No description",
        Severity.WARNING,
        "Write a docstring, or `description=`, that says what the job is for.",
        _undescribed,
    ),
    Rule(
        "MS102",
        "Timeout not declared",
        Severity.WARNING,
        "Set `timeout=` to what an attempt may take at most, for instance `timeout=timedelta(minutes=5)`.",
        _timeout_not_said,
    ),
    Rule(
        "MS103",
        "Retry not declared",
        Severity.WARNING,
        "Set `retry=Retry(max_retries=…)`; `Retry(max_retries=0)` where a failure must not be tried again.",
        _retry_not_said,
    ),
    Rule(
        "MS104",
        "Thresholds not declared",
        Severity.WARNING,
        "Set `thresholds=Thresholds(staleness=…, execution_time=…)` to what is not normal for this job.",
        _thresholds_not_said,
    ),
    Rule(
        "MS105",
        "Scheduled runs may overlap",
        Severity.ERROR,
        "Leave `overlap` and `max_running` as they are (one run in the whole cluster), or put "
        '`@distributed_lock("key", ttl=30)` on the handler.',
        _runs_may_overlap,
    ),
    Rule(
        "MS106",
        "Unfit time to live of a lock",
        Severity.WARNING,
        "A lock is renewed while the work goes on: a `ttl` of 10 to 60 s fits most.",
        _unfit_ttl,
    ),
    Rule(
        "MS107",
        "A long job that begins again from nothing",
        Severity.WARNING,
        "Keep with `await ctx.checkpoint(…)` how far it has come, and go on from `ctx.last_checkpoint`; or use "
        "`ctx.execution_id` as the key of what it writes.",
        _begins_again_from_nothing,
    ),
)
