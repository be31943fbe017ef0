"""Items and batches whose node is killed: what was finished is not done again, by a ledger outside the store."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from mainspring.domain.execution import Outcome, Status

if TYPE_CHECKING:
    from tests.cluster.conftest import Cluster

APP = {"MAINSPRING_APP": "item_jobs:app"}
PAYLOADS = {"data_processing": {"processor": "noted"}, "sync": {"sync": "noted"}}
ITEMS, GATED = 50, 25
UNFINISHED = range(20, 30)
"""The chunk, or batch, in which the gate is."""


@pytest.fixture(params=["on_sqlite", "on_postgresql"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Nodes on one store: the test runs once on each database."""
    return request.getfixturevalue(request.param)


def ledger(cluster: Cluster) -> dict[str, list[tuple[int, int]]]:
    """Return, for each job, which process has worked on which item, in the order of time."""
    path = cluster.gate.with_name("ledger")
    noted: dict[str, list[tuple[int, int]]] = {job: [] for job in PAYLOADS}
    for line in path.read_text(encoding="ascii").splitlines() if path.exists() else []:
        job, process, item = line.split()
        noted[job].append((int(process), int(item)))
    return noted


async def test_what_was_finished_when_the_node_died_is_not_done_again(cluster: Cluster) -> None:
    async def look() -> bool | None:
        return True if all(GATED in [item for _, item in noted] for noted in ledger(cluster).values()) else None

    (first,) = cluster.start("first", **APP)
    executions = {job: await cluster.enqueue(job, payload) for job, payload in PAYLOADS.items()}
    await cluster.until(look)
    first.kill()
    (second,) = cluster.start("second", **APP)
    cluster.open_gate()

    for job, execution_id in executions.items():
        ended = await cluster.ended(execution_id)
        assert await cluster.outcomes(execution_id) == [Outcome.LOST, Outcome.SUCCEEDED]
        assert (ended.status, ended.result["itemsProcessed"]) == (Status.SUCCEEDED, ITEMS)
        assert (ended.progress.items_processed, ended.progress.items_succeeded) == (ITEMS, ITEMS)

        noted = ledger(cluster)[job]
        calls = Counter(item for _, item in noted)
        assert set(calls) == set(range(ITEMS))
        assert {item for item, count in calls.items() if count > 1} <= set(UNFINISHED)
        assert calls[GATED] == max(calls.values()) == 2
        # The second attempt had a process of its own, which knows no store but the one that it opens.
        processes = {process for process, _ in noted}
        assert len(processes) == 2
        assert second.process.pid not in processes
