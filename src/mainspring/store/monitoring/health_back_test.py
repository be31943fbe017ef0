"""What a rule would have told of a job, by the history that is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mainspring.domain.rules.back_test import BackTest, back_test
from mainspring.store.monitoring import health_facts, health_history, health_look

if TYPE_CHECKING:
    from datetime import timedelta

    import sqlalchemy as sa

    from mainspring.domain.alert import AlertRule
    from mainspring.domain.thresholds import Thresholds


def run(
    connection: sa.Connection,
    environment: str,
    name: str,
    rule: AlertRule,
    *,
    span: timedelta,
    thresholds: Thresholds | None = None,
) -> BackTest | None:
    """Return what a rule would have told of a job; None: there is no such job.

    Args:
        connection: Where to read.
        environment: The environment.
        name: The job.
        rule: One of `back_test.TESTED`.
        span: How far back, as far as history is kept; of more than 20,000 runs the latest.
        thresholds: The limits to test; None: those in force.
    """
    seen = health_look.look(connection, environment)
    facts = health_facts.gather(connection, environment, seen, [name], None)
    if not facts:
        return None
    job = facts[0].job if thresholds is None else replace(facts[0].job, thresholds=thresholds)
    runs = health_history.since(connection, environment, name, span)
    return back_test(rule, job, facts[0].timetable, runs, span)


def thresholds_in_force(connection: sa.Connection, environment: str, name: str) -> Thresholds | None:
    """Return the limits of a job, an admin's before those of its code; None: there is no such job."""
    seen = health_look.look(connection, environment)
    facts = health_facts.gather(connection, environment, seen, [name], None)
    return facts[0].job.thresholds if facts else None
