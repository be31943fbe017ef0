"""`/metrics`: who may see it, and what it tells (contract §9)."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.parser import text_string_to_metric_families

from mainspring import Every, JobContext, Mainspring, PermanentError
from mainspring.api import metrics as metrics_door
from mainspring.domain.access import Role
from mainspring.domain.breaker import FAILURES_TO_OPEN
from mainspring.domain.execution import Outcome
from mainspring.domain.notification import Severity
from mainspring.errors import DatabaseUnreachableError, ExecutionFailedError
from mainspring.observability.metrics import Metrics
from mainspring.observability.metrics_text import Gauges, metrics_text
from mainspring.store.remote import breakers
from mainspring.world import RealWorld
from tests.api.remote_job import register_remote_job

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from mainspring.store.engine.database import Connection
    from tests.api.conftest import Door

CONTRACT: Final = {
    "mainspring_executions_total": {"job", "outcome"},
    "mainspring_execution_seconds": {"job"},
    "mainspring_queue_depth": {"queue"},
    "mainspring_oldest_queued_seconds": {"queue"},
    "mainspring_ticks_total": {"outcome"},
    "mainspring_tick_lateness_seconds": set[str](),
    "mainspring_leases_lost_total": set[str](),
    "mainspring_fenced_writes_total": set[str](),
    "mainspring_loop_lag_seconds": {"loop"},
    "mainspring_db_reconnects_total": set[str](),
    "mainspring_clock_skew_seconds": set[str](),
    "mainspring_outbox_depth": set[str](),
    "mainspring_alerts_open": {"severity"},
    "mainspring_slots": {"executor"},
    "mainspring_slots_taken": {"executor"},
    "mainspring_nodes_wanted": set[str](),
}


class Scrape:
    """What Prometheus reads.

    Args:
        text: The answer.
    """

    def __init__(self, text: str) -> None:
        self.families: dict[str, Any] = {}
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            self.families[name] = family

    def value(self, sample_name: str, **labels: str) -> float:
        """Return one value."""
        [value] = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == sample_name and sample.labels == labels
        ]
        return value

    def labels(self) -> dict[str, set[str]]:
        """Return the labels of each family, the bounds of histograms left out."""
        return {
            name: {label for sample in family.samples for label in sample.labels} - {"le"}
            for name, family in self.families.items()
        }


async def scrape(door: Door) -> Scrape:
    answer = await (await door.client()).get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Scrape(answer.text)


class TestWhoSeesIt:
    async def test_it_is_open_on_this_machine_and_elsewhere_for_staff(self, door: Door) -> None:
        far = {"X-Forwarded-For": "203.0.113.7"}
        clients = [
            await door.client(),
            await door.client(**far),
            await door.client(door.token(), **far),
            await door.client(door.token(role=Role.ADMIN), **far),
            await door.client(door.token(role=Role.VIEWER, organization=None), **far),
        ]
        assert [(await client.get("/metrics")).status_code for client in clients] == [200, 401, 403, 403, 200]


class TestWhatItTells:
    async def test_a_node_that_ran_something_tells_every_name_of_the_contract(
        self, tmp_path: Path, open_door: Any
    ) -> None:
        app = Mainspring(database_url=f"sqlite:///{tmp_path}/store.db", poll="0.05s")

        @app.job("greet")
        async def greet(ctx: JobContext[Any]) -> None: ...

        @app.job("stumble")
        async def stumble(ctx: JobContext[Any]) -> None:
            raise PermanentError("no")

        @app.job("tick", schedule=Every(timedelta(seconds=1)))
        async def tick(ctx: JobContext[Any]) -> None: ...

        async with app.running() as node, open_door(app, node=node) as door:
            for job in (greet, greet, stumble):
                execution = await job.enqueue(organization_id="acme", user_id="ada")
                with suppress(ExecutionFailedError):
                    await execution.wait(timeout=timedelta(seconds=20))
            told = await scrape(door)
            while told.value("mainspring_ticks_total", outcome="fired") == 0:
                told = await scrape(door)
            assert told.labels() == CONTRACT
            assert told.value("mainspring_executions_total", job="greet", outcome="succeeded") == 2
            assert told.value("mainspring_executions_total", job="stumble", outcome="failed") == 1
            assert told.value("mainspring_execution_seconds_count", job="greet") == 2
            assert told.value("mainspring_execution_seconds_bucket", job="greet", le="60.0") == 2
            assert told.value("mainspring_tick_lateness_seconds_count") >= 1
            assert told.value("mainspring_tick_lateness_seconds_sum") < 60
            assert told.value("mainspring_loop_lag_seconds", loop="worker") < 60
            assert abs(told.value("mainspring_clock_skew_seconds")) < 5
            assert told.value("mainspring_fenced_writes_total") == 0

    async def test_what_waits_is_counted_over_all_organizations_and_none_is_named(self, door: Door) -> None:
        for organization in ("acme", "globex"):
            for user in ("ada", "bob"):
                await door.app.enqueue("greet", organization_id=organization, user_id=user)
        await door.app.enqueue("sweep", queue="slow")
        await door.app.enqueue("sweep", delay=timedelta(hours=1))
        told = await scrape(door)
        assert told.value("mainspring_queue_depth", queue="default") == 4
        assert told.value("mainspring_queue_depth", queue="slow") == 1
        assert 0 <= told.value("mainspring_oldest_queued_seconds", queue="default") < 60
        assert told.value("mainspring_outbox_depth") == 0
        assert [told.value("mainspring_alerts_open", severity=severity) for severity in Severity] == [0] * 4
        text = (await (await door.client()).get("/metrics")).text
        assert re.search("acme|globex|ada|bob|sqlite", text) is None

    async def test_a_breaker_that_holds_the_calls_of_a_service_back_is_told(self, door: Door) -> None:
        assert "mainspring_service_breaker_open" not in (await scrape(door)).families, "there are no services yet"
        await register_remote_job(door)

        def miss(connection: Connection) -> None:
            for _ in range(FAILURES_TO_OPEN):
                breakers.fail(connection, "dev", "mailer", "no connection", chance=0.5)

        door.api.state.depth_gauge = metrics_door.DepthGauge(door.services.database, "dev", RealWorld())
        assert (await scrape(door)).value("mainspring_service_breaker_open", service="mailer") == 0
        await door.services.database.tx(miss)
        door.api.state.depth_gauge = metrics_door.DepthGauge(door.services.database, "dev", RealWorld())
        assert (await scrape(door)).value("mainspring_service_breaker_open", service="mailer") == 1

    async def test_depths_are_counted_once_in_a_few_seconds(self, door: Door) -> None:
        class Clock(RealWorld):
            seconds = 0.0

            def monotonic(self) -> float:
                return self.seconds

        clock = Clock()
        services = door.services
        door.api.state.depth_gauge = metrics_door.DepthGauge(services.database, "dev", clock)
        assert (await scrape(door)).value("mainspring_queue_depth", queue="default") == 0
        await door.app.enqueue("greet")
        clock.seconds += metrics_door.FRESH_SECONDS - 0.1
        assert (await scrape(door)).value("mainspring_queue_depth", queue="default") == 0
        clock.seconds += 0.1
        assert (await scrape(door)).value("mainspring_queue_depth", queue="default") == 1

    async def test_a_store_that_does_not_answer_takes_only_its_own_figures_away(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_arguments: object) -> None:
            raise DatabaseUnreachableError("gone")

        monkeypatch.setattr(metrics_door, "depths", fail)
        families = (await scrape(door)).families
        assert "mainspring_queue_depth" not in families
        assert "mainspring_executions_total" in families


class TestCounting:
    def test_an_end_that_nobody_timed_is_counted_and_not_timed(self) -> None:
        metrics = Metrics()
        metrics.execution_ended("greet", Outcome.LOST, None)
        told = Scrape(metrics_text(metrics, Gauges()).decode())
        assert told.value("mainspring_executions_total", job="greet", outcome="lost") == 1
        assert told.value("mainspring_execution_seconds_count", job="greet") == 0

    def test_names_are_escaped(self) -> None:
        told = Scrape(metrics_text(Metrics(), Gauges(queue_depth={'a"\n\\b': 1})).decode())
        assert told.value("mainspring_queue_depth", queue='a"\n\\b') == 1
