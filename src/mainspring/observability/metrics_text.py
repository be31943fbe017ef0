"""The metrics of contract §9 in the words of Prometheus."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from mainspring.domain.firing_policy import TickOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from mainspring.observability.metrics import Distribution, Metrics

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is looked at when the metrics are asked for; what is None cannot be known now, and is left out.

    Attributes:
        queue_depth: By queue, how many executions wait for room.
        oldest_queued_seconds: By queue, for how long the oldest of them has waited.
        outbox_depth: How many messages are not delivered.
        alerts_open: By severity, how many alerts are open.
        breakers_open: By service, whether its breaker holds calls back.
        job_breakers_open: By job, whether its breaker holds executions back.
        loop_lag_seconds: By loop of this node, by how much its next turn is late.
        clock_skew_seconds: By how much this node's clock is ahead of the store's.
        database_reconnects: How many connections of this process were cut and replaced.
        slots: By kind of executor, how many attempts this node may run at once.
        slots_taken: By kind of executor, how many it runs.
        nodes_wanted: How many nodes would keep up with the work.
    """

    queue_depth: Mapping[str, int] | None = None
    oldest_queued_seconds: Mapping[str, float] | None = None
    outbox_depth: int | None = None
    alerts_open: Mapping[str, int] | None = None
    breakers_open: Mapping[str, bool] | None = None
    job_breakers_open: Mapping[str, bool] | None = None
    loop_lag_seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    clock_skew_seconds: float | None = None
    database_reconnects: int = 0
    slots: Mapping[str, int] = field(default_factory=dict[str, int])
    slots_taken: Mapping[str, int] = field(default_factory=dict[str, int])
    nodes_wanted: int | None = None


def metrics_text(metrics: Metrics, gauges: Gauges) -> bytes:
    """Return the metrics of one node as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_Families(metrics, gauges))
    return generate_latest(registry)


class _Families:
    """The collector of one scrape."""

    def __init__(self, metrics: Metrics, gauges: Gauges) -> None:
        self._metrics = metrics
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Return every family."""
        yield from self._executions()
        yield from self._ticks()
        if self._metrics.service_calls:  # most deployments have no services
            yield self._service_calls()
        yield _counter("leases_lost", "How often this node was taken for dead.", self._metrics.leases_lost)
        yield _counter("fenced_writes", "Ends that came after another attempt began.", self._metrics.fenced_writes)
        yield _counter("db_reconnects", "Connections that were cut and replaced.", self._gauges.database_reconnects)
        yield from self._depths()
        yield _labelled("loop_lag_seconds", "How late a loop's next turn is.", "loop", self._gauges.loop_lag_seconds)
        yield from self._slots()
        if self._gauges.clock_skew_seconds is not None:
            skew = self._gauges.clock_skew_seconds
            yield _gauge("clock_skew_seconds", "How far this node's clock is ahead of the store's.", skew)

    def _slots(self) -> Iterator[Metric]:
        gauges = self._gauges
        if gauges.slots:
            yield _labelled("slots", "Attempts that this node may run at once.", "executor", gauges.slots)
            yield _labelled("slots_taken", "Attempts that it runs.", "executor", gauges.slots_taken)
        if gauges.nodes_wanted is not None:
            yield _gauge("nodes_wanted", "Nodes that would keep up with the work.", gauges.nodes_wanted)

    def _executions(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "mainspring_executions", "Executions that ended on this node.", labels=["job", "outcome"]
        )
        seconds = HistogramMetricFamily(
            "mainspring_execution_seconds", "How long their last attempts took.", labels=["job"]
        )
        for job, figures in self._metrics.jobs.items():
            for outcome, count in figures.outcomes.items():
                ended.add_metric([job, outcome.value], count)
            seconds.add_metric([job], *_histogram(figures.seconds))
        yield ended
        yield seconds

    def _ticks(self) -> Iterator[Metric]:
        ticks = CounterMetricFamily(
            "mainspring_ticks", "Due instants of schedules, decided by this node.", labels=["outcome"]
        )
        for outcome in TickOutcome:
            ticks.add_metric([outcome.value], self._metrics.ticks[outcome])
        yield ticks
        lateness = HistogramMetricFamily("mainspring_tick_lateness_seconds", "How late schedules were fired.")
        lateness.add_metric([], *_histogram(self._metrics.tick_lateness))
        yield lateness

    def _service_calls(self) -> Metric:
        calls = CounterMetricFamily(
            "mainspring_service_calls", "Calls of services by this node.", labels=["service", "outcome"]
        )
        for (service, outcome), count in self._metrics.service_calls.items():
            calls.add_metric([service, outcome], count)
        return calls

    def _depths(self) -> Iterator[Metric]:
        gauges = self._gauges
        if gauges.queue_depth is not None:
            yield _labelled("queue_depth", "Executions that wait for room.", "queue", gauges.queue_depth)
        if gauges.oldest_queued_seconds is not None:
            waits = gauges.oldest_queued_seconds
            yield _labelled("oldest_queued_seconds", "How long the oldest of them has waited.", "queue", waits)
        if gauges.outbox_depth is not None:
            yield _gauge("outbox_depth", "Messages that are not delivered.", gauges.outbox_depth)
        if gauges.alerts_open is not None:
            yield _labelled("alerts_open", "Alerts that are open.", "severity", gauges.alerts_open)
        if gauges.breakers_open:  # most deployments have no services
            said = "1 while the breaker of a service holds calls back."
            yield _labelled("service_breaker_open", said, "service", gauges.breakers_open)
        if gauges.job_breakers_open:  # most jobs have none
            said = "1 while the breaker of a job holds its executions back."
            yield _labelled("job_breaker_open", said, "job", gauges.job_breakers_open)


def _histogram(distribution: Distribution) -> tuple[list[tuple[str, int]], float]:
    return distribution.cumulative(), distribution.total


def _counter(name: str, meaning: str, value: int) -> Metric:
    return CounterMetricFamily(f"mainspring_{name}", meaning, value=value)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"mainspring_{name}", meaning, value=value)


def _labelled(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"mainspring_{name}", meaning, labels=[label])
    for labelled, value in values.items():
        family.add_metric([labelled], value)
    return family
