"""How many nodes are wanted, from what waits, what runs, and what it costs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mainspring.domain.cluster_size import Demand, Load, startable, wanted_nodes

TARGET = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("demand", "wanted"),
    [
        (Demand(waiting=0, running=0, nodes=3, busy=0.4, ends_per_second=9.0), 0),
        (Demand(waiting=1, running=0, nodes=0, busy=0.0, ends_per_second=0.0), 1),
        (Demand(waiting=9_000, running=0, nodes=0, busy=0.0, ends_per_second=0.0), 1),
        (Demand(waiting=9_000, running=0, nodes=1, busy=0.5, ends_per_second=50.0), 5),
        (Demand(waiting=0, running=1, nodes=1, busy=0.01, ends_per_second=0.0), 1),
        (Demand(waiting=0, running=70, nodes=1, busy=0.7, ends_per_second=70.0), 1),
        (Demand(waiting=0, running=90, nodes=1, busy=0.9, ends_per_second=90.0), 2),
        (Demand(waiting=0, running=80, nodes=5, busy=0.8, ends_per_second=80.0), 1),
        # A second of a whole node each 0.01 s: 3,000 of them keep one more node busy for 30 s.
        (Demand(waiting=3_000, running=100, nodes=1, busy=1.0, ends_per_second=100.0), 3),
        (Demand(waiting=30_000, running=100, nodes=1, busy=1.0, ends_per_second=100.0), 14),
        # They take an hour: never more than a slot for each.
        (Demand(waiting=100, running=100, nodes=1, busy=1.0, ends_per_second=0.03), 3),
        (Demand(waiting=100, running=100, nodes=1, busy=1.0, ends_per_second=0.0), 3),
    ],
)
def test_so_many_nodes_keep_up(demand: Demand, wanted: int) -> None:
    assert wanted_nodes(demand, TARGET) == wanted


def test_a_shorter_target_wants_more() -> None:
    demand = Demand(waiting=3_000, running=100, nodes=1, busy=1.0, ends_per_second=100.0)
    assert [wanted_nodes(demand, timedelta(seconds=seconds)) for seconds in (300, 30, 10, 3)] == [2, 3, 5, 14]


def test_scaling_as_wanted_works_the_backlog_off_and_comes_back_down() -> None:
    """40,000 executions of 0.1 s on nodes of ten slots each, which come and go a minute after they are wanted."""
    waiting, nodes, history = 40_000.0, 1, list[int]()
    for _ in range(30):
        done = min(waiting, nodes * 100.0 * 60)
        waiting -= done
        busy = done / 60 / 100
        running = round(busy * 10)
        nodes = max(1, wanted_nodes(Demand(round(waiting), running, nodes, busy, done / 60), TARGET))
        history.append(nodes)
    assert waiting == 0
    assert max(history) <= 20
    assert history[-1] == 1


@pytest.mark.parametrize(
    ("load", "limits", "found"),
    [
        (Load("mail", None, ready=100, running=3), {}, 100),
        (Load("mail", "acme", ready=100, running=3), {}, 2),
        (Load("mail", "acme", ready=100, running=9), {}, 0),
        (Load("mail", "big", ready=100, running=0), {}, 50),
        (Load("mail", None, ready=100, running=3), {"mail": 10}, 7),
        (Load("mail", None, ready=100, running=0), {"mail": 0}, 0),
    ],
    ids=["no limit", "its room", "above its limit", "its own limit", "of the queue", "paused"],
)
def test_what_a_limit_holds_back_wants_no_node(load: Load, limits: dict[str, int], found: int) -> None:
    assert startable([load], limits, {"big": 50}, usual_limit=5) == found


def test_a_limit_is_shared_by_all_that_it_counts() -> None:
    loads = [Load("mail", "acme", 100, 1), Load("web", "acme", 100, 1), Load("web", None, 100, 0)]
    assert startable(loads, {"web": 3}, {}, usual_limit=5) == 5
