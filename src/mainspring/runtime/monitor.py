"""The loop that finds what is wrong, on every node with the monitor role; each finding becomes one alert."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.alerts.lifecycle import observe
from mainspring.domain.alert import AlertEvent, AlertRule
from mainspring.domain.baseline import baseline_of
from mainspring.domain.health import Unwatched, health_of
from mainspring.domain.rules.job_rules import breaches_of
from mainspring.domain.rules.system import outage
from mainspring.runtime.loop import Turn
from mainspring.store.alerting import alerts
from mainspring.store.alerting.notifications import NOTIFICATIONS
from mainspring.store.monitoring import health, health_facts, health_history, health_look, health_system

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mainspring.alerts.notification_settings import NotificationSettings
    from mainspring.domain.alert import AlertChange, Breach
    from mainspring.domain.baseline import Baseline
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.monitoring.health import Finding
    from mainspring.store.monitoring.health_facts import JobFacts
    from mainspring.store.monitoring.health_look import Look
    from mainspring.world import World

_logger = logging.getLogger(__name__)

MONITOR_SECONDS: Final = 5.0
IDLE_WRITE: Final = timedelta(minutes=2)
"""How often it is written that somebody watches, while there is nothing else to write."""
UNWATCHED: Final = timedelta(minutes=3)
"""Nobody has written for so long that somebody watches: nobody did, or the clock jumped."""
JUST_DONE: Final = timedelta(seconds=4)
"""What another node has looked at so lately is not looked at again."""
_LEVELS: Final = {
    AlertEvent.OPENED: logging.WARNING,
    AlertEvent.REOPENED: logging.WARNING,
    AlertEvent.WORSENED: logging.WARNING,
    AlertEvent.COUNTED: logging.DEBUG,
}
_QUEUES_SECONDS: Final = 15.0
_BASELINE_AGE: Final = timedelta(hours=1)
_BASELINE_SPAN: Final = timedelta(days=90)
_BASELINES_AT_ONCE: Final = 5


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look has found.

    Attributes:
        look: What has happened.
        facts: The jobs to judge.
        unwatched: The last span in which nobody watched.
        system: What is wrong beside the jobs.
        covered: The rules by which that was looked for.
        has_to_tell: Whether something is to be told of alerts to which nothing has happened.
    """

    look: Look
    facts: Sequence[JobFacts]
    unwatched: Unwatched | None
    system: Sequence[Breach]
    covered: Collection[AlertRule]
    has_to_tell: bool


class Monitor:
    """Looks at what has happened since any node looked last, judges it by the rules, and hands on what is broken.

    A look is one read of bounded cost, and a quiet turn is nothing but that. What was found is written in one
    transaction with the alerts, by whichever node moves the watch on first; the others drop theirs.

    Args:
        database: The store.
        signals: To wake whoever delivers, and whoever looks on.
        telling: Whom alerts are told to, and how.
        environment: Whose jobs.
        world: Time.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        telling: NotificationSettings,
        *,
        environment: str,
        world: World,
    ) -> None:
        self._database = database
        self._telling = telling
        self._environment = environment
        self._world = world
        self._signals = signals
        self._queues_due_at = world.monotonic()
        self._watched_at: float | None = None

    @property
    def watched_at(self) -> float | None:
        """The monotonic instant of the last turn that succeeded."""
        return self._watched_at

    async def run_once(self, *, longest_silence: timedelta = UNWATCHED) -> Turn:
        """Look once; say when there is something to look at again.

        Args:
            longest_silence: After how long without a word of any monitor it is taken that nobody watched.
        """
        turn = await self._turn(longest_silence)
        self._watched_at = self._world.monotonic()
        return turn

    async def _turn(self, longest_silence: timedelta) -> Turn:
        with_queues = self._world.monotonic() >= self._queues_due_at
        seen = await self._database.read(lambda connection: self._see(connection, longest_silence, with_queues))
        if seen is None:
            return Turn()
        if with_queues:
            self._queues_due_at = self._world.monotonic() + _QUEUES_SECONDS
        if not self._is_news(seen):
            return Turn(again_in=_until_next(seen.look))
        changes = await self._database.tx(lambda connection: self._write(connection, seen))
        if changes is None:
            return Turn()
        await self._learn(seen)
        if changes:
            self._signals.send(NOTIFICATIONS)
        _say(changes)
        again_in = 0.0 if seen.look.unseen == health_look.MOST_JOBS else _until_next(seen.look)
        return Turn(len(seen.facts) + len(seen.look.gone), again_in)

    def _see(self, connection: Connection, longest_silence: timedelta, with_queues: bool) -> _Seen | None:  # noqa: FBT001
        look = health_look.look(connection, self._environment)
        watch = look.watch
        is_just_done = watch is not None and timedelta(0) <= look.now - watch.watched_at < JUST_DONE
        if is_just_done and not look.ended and not look.unseen:
            return None
        unwatched = _unwatched(look, longest_silence)
        names = look.names
        covered = {*health_system.OF_NODES, AlertRule.UNWATCHED}
        system = [
            *health_system.nodes_and_services(
                connection,
                self._environment,
                unwatched=unwatched,
                known=frozenset() if watch is None else watch.breached,
            ),
            *outage(unwatched, look.now),
        ]
        if with_queues:
            covered |= health_system.OF_QUEUES
            system += health_system.queues_and_history(connection, self._environment)
        facts = health_facts.gather(connection, self._environment, look, names, unwatched) if names else []
        has_to_tell = bool(alerts.needing_a_word(connection, self._environment))
        return _Seen(look, facts, unwatched, system, covered, has_to_tell)

    def _is_news(self, seen: _Seen) -> bool:
        watch = seen.look.watch
        if watch is None or seen.facts or seen.look.gone:
            return True
        if not timedelta(0) <= seen.look.now - watch.watched_at < IDLE_WRITE:
            return True
        keys = frozenset(breach.deduplication_key for breach in seen.system)
        return seen.has_to_tell or keys != _of_rules(watch.breached, seen.covered)

    def _write(self, connection: Connection, seen: _Seen) -> list[AlertChange] | None:
        """Keep what was found, with its alerts; None: another node was first."""
        look, watch = seen.look, seen.look.watch
        before = frozenset[str]() if watch is None else watch.breached
        system = {breach.deduplication_key: breach for breach in seen.system}
        recovered = _of_rules(before, seen.covered) - system.keys()
        breached = (before - recovered) | system.keys()
        if not health_look.take(connection, self._environment, look, unwatched=seen.unwatched, breached=breached):
            return None
        is_another_outage = watch is not None and watch.unwatched != seen.unwatched
        breaches = [
            breach
            for key, breach in system.items()
            if key not in before or (is_another_outage and breach.rule is AlertRule.UNWATCHED)
        ]
        findings: list[Finding] = []
        for facts in seen.facts:
            broken = breaches_of(facts.job, None if facts.held is not None else facts.timetable, why=facts.why)
            breaches += broken
            recovered |= _recovered(facts.job.name, facts.job.breached - {breach.rule for breach in broken})
            findings.append(_finding(facts, broken, seen.unwatched))
        gone = health.find(connection, self._environment, look.gone) if look.gone else {}
        for name, known in gone.items():
            recovered |= _recovered(name, known.breached)
        health.write(connection, self._environment, findings)
        health.forget(connection, self._environment, list(look.gone))
        return observe(connection, self._environment, breaches, recovered, telling=self._telling)

    async def _learn(self, seen: _Seen) -> None:
        """Compute anew what is usual for a few of the jobs that want to know."""
        wanted = [
            facts.job.name
            for facts in seen.facts
            if facts.job.thresholds.anomaly is not None or facts.job.thresholds.trend_days is not None
        ]
        if not wanted:
            return
        known = await self._database.read(lambda connection: health.baselines(connection, self._environment, wanted))
        old = [name for name, (_, at) in known.items() if at is None or seen.look.now - at > _BASELINE_AGE]
        if old:
            computed = await self._database.read(lambda connection: self._baselines(connection, old))
            await self._database.tx(lambda connection: health.keep_baselines(connection, self._environment, computed))

    def _baselines(self, connection: Connection, names: Sequence[str]) -> dict[str, Baseline]:
        return {
            name: baseline_of(health_history.since(connection, self._environment, name, _BASELINE_SPAN))
            for name in names[:_BASELINES_AT_ONCE]
        }


def _say(changes: Sequence[AlertChange]) -> None:
    for change in changes:
        level = _LEVELS.get(change.event, logging.INFO)
        _logger.log(level, "alert %s %s: %s", change.alert.deduplication_key, change.event, change.alert.sentence)


def _finding(facts: JobFacts, broken: Sequence[Breach], unwatched: Unwatched | None) -> Finding:
    job, longest = facts.job, facts.job.thresholds.execution_time
    return health.Finding(
        job_name=job.name,
        health=health_of(job, facts.timetable, broken, held=facts.held, unwatched=unwatched),
        last_run_at=max((run.started_at for run in job.runs), default=None),
        last_success_at=max((run.completed_at for run in job.successes), default=None),
        last_failure_at=max((run.completed_at for run in job.runs if not run.succeeded), default=None),
        streak=job.streak,
        breached=[breach.rule for breach in broken],
        longest_seconds=None if longest is None else longest.total_seconds(),
    )


def _recovered(name: str, rules: Collection[AlertRule]) -> frozenset[str]:
    return frozenset(f"{rule}:{name}" for rule in rules)


def _of_rules(keys: Collection[str], rules: Collection[AlertRule]) -> frozenset[str]:
    """Return those of some deduplication keys that some rules made."""
    return frozenset(key for key in keys if AlertRule(key.partition(":")[0]) in rules)


def _unwatched(look: Look, longest_silence: timedelta) -> Unwatched | None:
    """Return the last span in which nobody watched: no node was alive, or the clock jumped over it."""
    if look.watch is None:
        return None
    watched_at = look.watch.watched_at
    if look.now - watched_at > longest_silence:
        return Unwatched(watched_at, look.now)
    if look.alive_since is not None and look.alive_since > watched_at:
        return Unwatched(max(watched_at, look.alive_until or watched_at), look.alive_since)
    return look.watch.unwatched


def _until_next(look: Look) -> float | None:
    return None if look.next_look_at is None else max(0.0, (look.next_look_at - look.now).total_seconds())
