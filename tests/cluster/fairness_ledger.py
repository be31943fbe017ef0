"""Judges fairness by the ledger that the handlers of `fair_jobs` wrote, without a look at mainspring's own tables."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final

from mainspring.domain.retry_decision import MAX_LOST
from tests.cluster.ledger import Run, read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mainspring.domain.rate import Rate

AGAIN_SECONDS: Final = 2.0
"""How long after the end of a dead node's lease an organization may run fewer than its limit while more wait."""
SINGLE_SECONDS: Final = 1.0
"""How long the single job of an organization may wait, whatever others have queued, while no kill takes it."""
SINGLE: Final = "single-"
"""What the names of organizations with a single job begin with."""


@dataclass(frozen=True, slots=True)
class Fall:
    """The end of a node by `kill -9`.

    Attributes:
        node: Which.
        at: When it was gone.
        lease_until: When the lease of all it held was over.
        held: The executions that it held: those it ran, and those it had claimed and not begun.
    """

    node: str
    at: float
    lease_until: float
    held: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Group:
    """The runs that count under one limit, by their begin, and when each of its executions was asked for."""

    name: str
    limit: int
    runs: list[Run] = field(default_factory=list[Run])
    asked: list[float] = field(default_factory=list[float])

    def levels(self) -> list[tuple[float, int]]:
        """Return how many ran from each instant on; at one instant, what ends makes room for what begins."""
        changes = [(run.begin, 1) for run in self.runs] + [(run.end, -1) for run in self.runs if run.end is not None]
        level = 0
        return [(at, level := level + change) for at, change in sorted(changes)]

    def first_begins(self) -> list[float]:
        """Return when each execution began for the first time."""
        first: dict[str, float] = {}
        for run in self.runs:
            first.setdefault(run.execution, run.begin)
        return sorted(first.values())

    def unbegun(self, at: float) -> int:
        """Return how many had been asked for and never begun at an instant."""
        return bisect_right(sorted(self.asked), at) - bisect_right(self.first_begins(), at)

    def longest_gap(self, steady: float, until: float) -> float:
        """Return the longest time for which fewer ran than the limit although more waited all the time."""
        begun = self.first_begins()
        idle_from = until if len(begun) < len(self.asked) else begun[-1]
        longest, since, level = 0.0, max(steady, min(self.asked)), 0
        for at, following in [*self.levels(), (idle_from, 0)]:
            if level < self.limit:
                longest = max(longest, min(at, idle_from) - since)
            elif following < self.limit:
                since = max(since, at)
            level = following
        return longest


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for.

    Attributes:
        group: What its runs count under.
        at: From when on it could run.
    """

    group: str
    at: float


@dataclass(slots=True)
class Facts:
    """What the judge is told besides the ledger.

    Attributes:
        asked: What was accepted, by execution.
        limits: How many of a group may run at once.
        organizations: The groups that are to run at their limit while more of theirs wait.
        falls: The nodes that were killed.
        left: Executions that had not ended when all nodes had stopped.
        succeeded: Executions that the store says have succeeded.
        given_up: Executions that it says have failed, because three of their attempts were lost (contract §1).
        steady: From when on all nodes ran.
        until: When the nodes were told to stop.
        longest_gap: Seconds for which a group may run fewer than its limit while more wait.
        longest_wait: Seconds for which the single job of an organization may wait.
        rates: How many of a group may begin per period.
    """

    asked: dict[str, Asked] = field(default_factory=dict[str, Asked])
    limits: dict[str, int] = field(default_factory=dict[str, int])
    organizations: set[str] = field(default_factory=set[str])
    falls: list[Fall] = field(default_factory=list[Fall])
    left: set[str] = field(default_factory=set[str])
    succeeded: set[str] = field(default_factory=set[str])
    given_up: set[str] = field(default_factory=set[str])
    steady: float = 0.0
    until: float = 0.0
    longest_gap: float = 4.0
    longest_wait: float = SINGLE_SECONDS
    rates: dict[str, Rate] = field(default_factory=dict[str, "Rate"])


@dataclass(slots=True)
class Verdict:
    """What the judge found.

    Attributes:
        recoveries: Seconds from the end of a dead node's lease until a group that it cut ran at its limit again.
        gaps: The longest time that each group ran fewer than its limit while more waited.
        waits: Seconds from asked to begun, by group.
        problems: Whatever contradicts the claim.
    """

    runs: list[Run]
    most_at_once: dict[str, int] = field(default_factory=dict[str, int])
    recoveries: list[float] = field(default_factory=list[float])
    gaps: dict[str, float] = field(default_factory=dict[str, float])
    waits: dict[str, list[float]] = field(default_factory=dict[str, "list[float]"])
    problems: list[str] = field(default_factory=list[str])


def judge(folder: Path, facts: Facts) -> Verdict:
    """Read the ledger of a folder and say what contradicts the claim."""
    verdict = Verdict(read(folder, {fall.node: fall.at for fall in facts.falls}))
    groups = {name: _Group(name, limit) for name, limit in facts.limits.items()}
    for asked in facts.asked.values():
        groups[asked.group].asked.append(asked.at)
    for run in verdict.runs:
        groups[run.group].runs.append(run)
    _judge_each_run(verdict, facts)
    for group in groups.values():
        _judge_limit(verdict, group)
        if group.name in facts.rates:
            _judge_rate(verdict, group, facts.rates[group.name])
        if group.name in facts.organizations:
            _judge_use(verdict, facts, group)
    _judge_executions(verdict, facts)
    return verdict


def share(values: Sequence[float], of: float) -> float:
    """Return the value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(of * len(ordered)))] if ordered else 0.0


def _judge_each_run(verdict: Verdict, facts: Facts) -> None:
    begun: set[str] = set()
    first = min((run.begin for run in verdict.runs), default=0.0)
    for run in verdict.runs:
        if run.execution not in facts.asked:
            verdict.problems.append(f"{run.execution} of {run.group} ran, and nobody had asked for it")
        elif run.end is None:
            verdict.problems.append(f"{run.execution} of {run.group} began on {run.node} and never ended")
        elif run.execution not in begun:
            begun.add(run.execution)
            wait = run.begin - max(first, facts.asked[run.execution].at)
            verdict.waits.setdefault(run.group, []).append(wait)
            if run.group.startswith(SINGLE) and wait > facts.longest_wait and run.begin > _end_of_leases(facts, run):
                verdict.problems.append(f"{run.group} has a single job, and waited {wait:.2f} s")


def _end_of_leases(facts: Facts, run: Run) -> float:
    """Return until when a run may have waited for the lease of a dead node that had claimed it and not begun it."""
    leases = (fall.lease_until for fall in facts.falls if run.execution in fall.held)
    return max(leases, default=-inf) + AGAIN_SECONDS


def _judge_limit(verdict: Verdict, group: _Group) -> None:
    most = verdict.most_at_once[group.name] = max((level for _, level in group.levels()), default=0)
    if most > group.limit:
        verdict.problems.append(f"{group.name} ran {most} at once: its limit is {group.limit}")


def _judge_use(verdict: Verdict, facts: Facts, group: _Group) -> None:
    """An organization for which more wait runs at its limit, save for a moment after a kill."""
    gap = verdict.gaps[group.name] = group.longest_gap(facts.steady, facts.until)
    if gap > facts.longest_gap:
        verdict.problems.append(f"{group.name} ran fewer than {group.limit} for {gap:.1f} s while more waited")
    levels = group.levels()
    for fall in facts.falls:
        latest = fall.lease_until + AGAIN_SECONDS
        was_hit = any(run.is_cut and run.node == fall.node for run in group.runs)
        if not was_hit or latest > facts.until or not group.unbegun(latest):
            continue
        again = next((at for at, level in levels if at > fall.at and level == group.limit), facts.until)
        verdict.recoveries.append(again - fall.lease_until)
        if again > latest:
            late = f"{again - fall.lease_until:.1f} s after the lease of {fall.node}"
            verdict.problems.append(f"{group.name} ran {group.limit} again only {late}")


def _judge_rate(verdict: Verdict, group: _Group, rate: Rate) -> None:
    """Starts may lag behind admissions by one burst (ADR 8); what was run again after a kill started later still."""
    begins = [run.begin for run in group.runs]
    period = rate.period.total_seconds()
    again = len(group.runs) - len(group.first_begins())
    for number, begin in enumerate(begins):
        within = bisect_left(begins, begin + period) - number
        if within > rate.count + rate.burst + again:
            verdict.problems.append(f"{group.name} began {within} times within {period:g} s: its rate is {rate}")
            return


def _judge_executions(verdict: Verdict, facts: Facts) -> None:
    """Nothing is lost, and nothing done twice unless a kill kept its first end from being written."""
    gone = {fall.node for fall in facts.falls}
    done: defaultdict[str, list[Run]] = defaultdict(list)
    cut: Counter[str] = Counter()
    for run in verdict.runs:
        cut[run.execution] += run.is_cut
        if run.is_done:
            done[run.execution].append(run)
    for execution, asked in facts.asked.items():
        times = done.get(execution, [])
        # An attempt that was lost while its process started has written nothing.
        is_given_up = execution in facts.given_up and 0 < cut[execution] <= MAX_LOST
        if execution not in facts.succeeded and execution not in facts.left and not is_given_up:
            verdict.problems.append(f"{execution} of {asked.group} is lost")
        if execution in facts.succeeded and not times:
            verdict.problems.append(f"{execution} of {asked.group} has succeeded, and nobody has done it")
        if any(run.node not in gone for run in times[:-1]):
            verdict.problems.append(f"{execution} of {asked.group} was done {len(times)} times, and no kill is why")
