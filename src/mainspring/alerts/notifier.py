"""The notifier of alerts: who is told what happened to them, what is held back and why, by which routes."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mainspring.alerts import outgoing, revising
from mainspring.alerts.alert_message import Story, alert_message
from mainspring.domain.access import Permission, Scope
from mainspring.domain.alert import AlertChange, AlertEvent, AlertRule
from mainspring.domain.alert_telling import SAME_JOB, Surroundings, decide, escalation_steps
from mainspring.domain.route import Route
from mainspring.errors import ConfigurationError, DefinitionError
from mainspring.store.alerting import (
    alert_facts,
    alert_notifications,
    alerts,
    notification_routes,
    silences,
    told_alerts,
)
from mainspring.store.alerting.notifications import NewNotification
from mainspring.store.alerting.told_alerts import Told
from mainspring.store.engine.dialect import present_instant
from mainspring.store.identity import users
from mainspring.store.runs import executions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from mainspring.alerts.notification_settings import NotificationSettings
    from mainspring.domain.alert import Alert
    from mainspring.domain.alert_telling import Decision
    from mainspring.domain.execution import Execution
    from mainspring.domain.notification import Message
    from mainspring.store.alerting.alert_facts import JobFacts
    from mainspring.store.alerting.alert_notifications import Address
    from mainspring.store.engine.database import Connection

    _Decided = tuple[Alert, AlertEvent, Decision]

_logger = logging.getLogger(__name__)


def tell(
    connection: Connection, environment: str, events: Mapping[UUID, AlertEvent], telling: NotificationSettings
) -> list[AlertChange]:
    """Tell what happened to alerts, and what is due of others, in the transaction of what happened.

    Args:
        connection: Where to run.
        environment: The environment.
        events: What happened to which alerts.
        telling: By what.

    Returns:
        What happened, and what was escalated.
    """
    changed = alerts.get_each(connection, environment, events)
    due = [alert for alert in alerts.needing_a_word(connection, environment) if alert.id not in events]
    if not changed and not due:
        return []
    news = _News.about(connection, environment, [*changed, *due], telling)
    told: list[AlertChange] = []
    # Ends first: what they release is decided in the same turn. Then the worst, beside which the others need no word.
    for alert in sorted([*changed, *due], key=_in_turn):
        event = events.get(alert.id)
        if alert.id in news.handed_over:
            continue
        decision = decide(alert, event, news.around, escalation_steps(alert, news.routes_for(alert)))
        if event is not None:
            told.append(AlertChange(event, alert))
        if decision is None:
            continue
        news.write(alert, decision)
        if event is None and decision.event is not None and decision.suppressed is None:
            told.append(AlertChange(decision.event, alert))
    news.send(events, changed)
    return told


def _in_turn(alert: Alert) -> tuple[bool, int, bool]:
    return alert.resolved_at is None, -alert.severity.rank, alert.rule is not AlertRule.STALENESS


def routes_in_force(connection: Connection, environment: str, declared: Sequence[Route]) -> list[Route]:
    """Return the routes of the settings as admins changed them, and those that were chosen beside them.

    What people chose for themselves is in force as long as they may see alerts.
    """
    stored = {item.name: item.route for item in notification_routes.find(connection, environment)}
    kept = [route for route in declared if route.name not in stored]
    chosen = [route for route in stored.values() if route is not None]
    owners = {route.owner for route in chosen if route.is_own and route.owner is not None}
    present = users.staff_who_may(connection, owners, Permission.READ_ADMIN_SETTINGS)
    return [*kept, *(route for route in chosen if not route.is_own or route.owner in present)]


@dataclass(slots=True)
class _News:
    """What is told in one transaction."""

    connection: Connection
    environment: str
    telling: NotificationSettings
    around: Surroundings
    jobs: Mapping[str, JobFacts]
    routes: Sequence[Route]
    runs: Mapping[UUID, Execution]
    told: list[Told] = field(default_factory=list[Told])
    decided: list[tuple[Alert, AlertEvent, Decision]] = field(
        default_factory=list["tuple[Alert, AlertEvent, Decision]"]
    )
    handed_over: set[UUID] = field(default_factory=set["UUID"])
    aware: Mapping[UUID, set[Address]] = field(default_factory=dict["UUID", "set[Address]"])
    unaware: Mapping[UUID, set[Address]] = field(default_factory=dict["UUID", "set[Address]"])

    @classmethod
    def about(
        cls, connection: Connection, environment: str, about: Sequence[Alert], telling: NotificationSettings
    ) -> _News:
        """Read what decides about some alerts."""
        names = {alert.job_name for alert in about if alert.job_name is not None}
        jobs = alert_facts.job_facts(connection, environment, names)
        others: defaultdict[str, list[Alert]] = defaultdict(list)
        for alert in alerts.all_open(connection, environment):
            if alert.job_name is not None:
                others[alert.job_name].append(alert)
        shown = [alert.execution_id for alert in about if alert.execution_id is not None]
        return cls(
            connection=connection,
            environment=environment,
            telling=telling,
            around=Surroundings(
                now=present_instant(connection),
                silences=silences.kept(connection, environment),
                groups={name: job.group for name, job in jobs.items()},
                parents={name: job.parents for name, job in jobs.items()},
                others=others,
                cooldown=telling.cooldown,
            ),
            jobs=jobs,
            routes=routes_in_force(connection, environment, telling.routes),
            runs={run.id: run for run in executions.get_each(connection, Scope(environment), shown)},
        )

    def routes_for(self, alert: Alert) -> list[Route]:
        """Return the routes that an alert goes, at whatever hour and after however long."""
        group = self.around.group_of(alert)
        job = self.jobs.get(alert.job_name or "")
        own = routes_of_job(alert.job_name or "", job.notify) if job is not None else []
        return [route for route in (*self.routes, *own) if route.fits(alert, group)]

    def write(self, alert: Alert, decision: Decision) -> None:
        """Take a decision down."""
        wait = None if decision.next_step is None else decision.next_step.total_seconds()
        self.told.append(Told(alert.id, decision.is_told, decision.held_by, wait, decision.escalation))
        if decision.is_told:
            self._count_as_told(alert)
        if decision.event is AlertEvent.RESOLVED and decision.is_told is False:
            self._hand_over(alert)
        if decision.event is not None:
            self.decided.append((alert, decision.event, decision))

    def send(self, events: Mapping[UUID, AlertEvent], changed: Sequence[Alert]) -> None:
        """Write all of it, and what receivers can write again of the alerts to which something has happened."""
        told_alerts.write_told(self.connection, self.told)
        over = [alert.id for alert, event, _ in self.decided if event is AlertEvent.RESOLVED]
        if over:
            self.unaware = alert_notifications.withdraw(self.connection, over, "it was over before it was due")
            self.aware = alert_notifications.told_to(self.connection, over)
        items = [
            item for alert, event, decision in self.decided for item in self._notifications(alert, event, decision)
        ]
        sent = outgoing.send(self.connection, self.environment, items, telling=self.telling, now=self.around.now)
        revising.revise(
            self.connection,
            self.environment,
            [(alert, events[alert.id]) for alert in changed if not self.around.silence_over(alert)],
            sent,
            telling=self.telling,
            now=self.around.now,
            as_things_stand=self._message,
        )

    def _hand_over(self, ended: Alert) -> None:
        """Let other alerts of the job count as told that were held back for the sake of one that has ended."""
        for other in self.around.of_job(ended.job_name):
            if other.told_at is None and (other.held_by or "").startswith(SAME_JOB):
                self.told.append(Told(other.id, is_told=True, held_by=None, next_step_in=None, escalation=0))
                self._count_as_told(other)
                self.handed_over.add(other.id)

    def _count_as_told(self, alert: Alert) -> None:
        """Let what is decided next in this turn see that people know of an alert."""
        of_job = self.around.others.get(alert.job_name or "", [])
        of_job[:] = [replace(other, told_at=self.around.now) if other.id == alert.id else other for other in of_job]

    def _notifications(self, alert: Alert, event: AlertEvent, decision: Decision) -> list[NewNotification]:
        found: list[NewNotification] = []
        for address, route in self._ways(alert, event, decision).items():
            channel, destination = address
            now = self.around.now
            at = now if event is AlertEvent.RESOLVED else route.hours.opens_at(now)
            found.append(
                NewNotification(
                    id=self.telling.world.new_id(),
                    channel=channel,
                    destination=destination,
                    message=self._message(alert, event, channel),
                    alert_id=alert.id,
                    execution_id=None,
                    route=route.name,
                    suppressed=decision.suppressed,
                    available_at=at if at > now else None,
                )
            )
        return found

    def _ways(self, alert: Alert, event: AlertEvent, decision: Decision) -> dict[Address, Route]:
        """Return to whom something is told, each once, whichever of its routes led there."""
        fitting = self.routes_for(alert)
        wanted = [route for route in fitting if not route.after]
        if event is AlertEvent.ESCALATED:
            steps = escalation_steps(alert, fitting)
            wanted = [route for route in fitting if route.after == steps[decision.escalation - 1]]
        ways: dict[Address, Route] = {}
        for route in wanted:
            ways.setdefault((route.channel, route.destination), route)
        if event is not AlertEvent.RESOLVED:
            return ways
        for channel, destination in self.aware.get(alert.id, ()):
            ways.setdefault((channel, destination), Route(channel, destination, name="told before"))
        return {address: route for address, route in ways.items() if address not in self.unaware.get(alert.id, ())}

    def _story(self, alert: Alert) -> Story:
        job = self.jobs.get(alert.job_name or "")
        return Story(
            now=self.around.now,
            last_run_at=job.last_run_at if job is not None else None,
            last_success_at=job.last_success_at if job is not None else None,
            running_since=job.running_since if job is not None else None,
            execution=self.runs.get(alert.execution_id) if alert.execution_id is not None else None,
            others=[other for other in self.around.of_job(alert.job_name) if other.id != alert.id],
            public_url=self.telling.public_url,
        )

    def _message(self, alert: Alert, event: AlertEvent, channel: str) -> Message:
        """Return what a channel is told, in the words of the templates."""
        message = alert_message(alert, event, self._story(alert))
        try:
            return self.telling.templates.apply(
                message, event, channel=channel, job_name=alert.job_name, facts={"alert": alert}
            )
        except ConfigurationError as error:  # people are told all the same
            _logger.warning("%s: the message is told as it is without it", error)
            return message


def routes_of_job(job_name: str, declared: Sequence[Mapping[str, object]]) -> list[Route]:
    """Return the routes that code declares for a job; one that cannot be read any more is passed over."""
    routes: list[Route] = []
    for number, given in enumerate(declared, start=1):
        try:
            routes.append(Route.read({"name": f"{job_name}-{number}"} | {k: v for k, v in given.items() if v}))
        except DefinitionError as error:
            _logger.warning("job %r: a route of it is passed over: %s", job_name, error)
    return routes
