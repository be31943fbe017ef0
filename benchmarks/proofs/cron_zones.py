"""Claim: in every zone and around every change of its clocks, cron fires as a daemon that watches the clock does.

`./dev prove cron-zones` takes all IANA zones, finds every change of their clocks in three years by looking at the clock
alone, and compares the engine around each of them, with 24 patterns aimed at it, with the oracle of
`tests/unit/test_cron_oracle.py`, which walks through real time minute by minute and knows no offsets. A zone without a
change is watched on an ordinary day. Nothing is left to chance.

cronsim and croniter answer the same questions once for each distinct change. They disagree with us and with the oracle;
each kind of disagreement must be one that is known and explained.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from zoneinfo import ZoneInfo, available_timezones, reset_tzpath

import croniter as croniter_package
import tzdata
from cronsim import CronSim
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from mainspring.domain.schedule import Cron
from tests.unit.test_cron_oracle import Change, Daemon, changes, disagreements, patterns, wall_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# The zones of the locked package, so that every machine compares the same changes.
reset_tzpath(())
ZoneInfo.clear_cache()

NOT_ZONES: Final = {"localtime", "Factory"}
WEEKS_OF_A_YEAR: Final = 53
WIDTH_WITHOUT_TERMINAL: Final = 200
REACH: Final = timedelta(hours=5)
HALF_A_MINUTE: Final = timedelta(seconds=30)
BASES: Final = (-REACH - HALF_A_MINUTE, -HALF_A_MINUTE, timedelta(minutes=29))
"""Where the peers begin, counted from the change: well before it, right before it, and after it."""


class Fault(NamedTuple):
    """A kind of disagreement: which library, with which patterns, when clocks go where, and what it does then."""

    library: str
    patterns: str
    clocks: str
    symptom: str


PAST, STUCK, LOST, ADDED = "answers with the past", "stands still", "loses runs", "adds runs"

KNOWN: Final = {
    Fault("cronsim", "fixed times", "back", PAST): (
        "asked during the second pass of an hour, it answers with an instant of the first pass"
    ),
    Fault("cronsim", "wildcards", "back", LOST): (
        "it steps by whole hours of real time, and passes over local times where clocks change by half an hour or at a "
        "quarter past"
    ),
    Fault("cronsim", "wildcards", "back", STUCK): (
        "with a day named, where clocks change by half an hour, it returns the same instant for ever"
    ),
    Fault("cronsim", "wildcards", "back", PAST): "the same: asked after that instant, it returns it still",
    Fault(
        "cronsim", "wildcards", "forward", LOST
    ): "its steps of whole hours pass over local times after a gap of half an hour",
    Fault("cronsim", "wildcards", "forward", ADDED): (
        "where midnight is skipped and the pattern names its hour and day, it fires after the gap though it is no "
        "fixed time"
    ),
    Fault("croniter", "fixed times", "back", ADDED): "it runs in both passes of an hour that comes twice",
    Fault("croniter", "fixed times", "forward", LOST): (
        "it takes a range over the whole field, such as 0-23, for a star, and makes up for nothing then"
    ),
    Fault("croniter", "wildcards", "forward", ADDED): "it makes up for steps that a gap has skipped",
    Fault("croniter", "wildcards", "back", LOST): (
        "with month and weekday named, or where clocks go back by half an hour, it leaves out the second pass"
    ),
}


@dataclass
class Verdict:
    """What was found around one change."""

    wrong: list[str] = field(default_factory=list[str])
    cases: int = 0
    asked: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    faults: Counter[Fault] = field(default_factory=Counter[Fault])
    unexplained: list[str] = field(default_factory=list[str])

    def add(self, other: Verdict) -> None:
        """Take in what was found around another change."""
        self.wrong += other.wrong
        self.cases += other.cases
        self.asked += other.asked
        self.faults += other.faults
        self.unexplained += other.unexplained


# The changes ----------------------------------------------------------------------------------------------------------


def changes_of(zone: str, first: date, years: int) -> list[Change]:
    """Return the changes of a zone's clocks, or an ordinary noon where there are none."""
    found = list(changes(zone, first, years * WEEKS_OF_A_YEAR))
    noon = datetime(first.year, first.month, first.day, 12, tzinfo=UTC)
    shown = wall_of(noon, ZoneInfo(zone))
    return found or [Change(zone, noon, shown, shown)]


def judge(case: tuple[Change, bool]) -> Verdict:
    """Compare the engine with the oracle around a change and, where the case says so, the peers with the engine."""
    change, with_peers = case
    verdict = Verdict(wrong=disagreements(change), cases=len(patterns(change)))
    if with_peers and change.shown != change.expected:
        for expression in dict.fromkeys(patterns(change)):
            for offset in BASES:
                _ask_peers(verdict, change, expression, change.instant + offset)
    return verdict


# The peers ------------------------------------------------------------------------------------------------------------


def of_cronsim(expression: str, base: datetime) -> Iterator[datetime]:
    """Yield what cronsim answers."""
    return cast("Iterator[datetime]", CronSim(expression, base))


def of_croniter(expression: str, base: datetime) -> Iterator[datetime]:
    """Yield what croniter answers, told to join the day fields as cron does."""
    croniter = cast("Any", croniter_package).croniter(expression, base, implement_cron_bug=True)  # it has no types
    return iter(lambda: cast("datetime", croniter.get_next(datetime)), None)


PEERS: Final[dict[str, Callable[[str, datetime], Iterator[datetime]]]] = {
    "cronsim": of_cronsim,
    "croniter": of_croniter,
}


def _ask_peers(verdict: Verdict, change: Change, expression: str, base: datetime) -> None:
    end = change.instant + REACH
    ours = list(Cron(expression, tz=change.zone).fires(base, end))
    rhythm = "wildcards" if Daemon(expression).wildcard else "fixed times"
    clocks = "forward" if change.shown > change.expected else "back"
    for library, instants_of in PEERS.items():
        theirs = _until(instants_of(expression, base.astimezone(ZoneInfo(change.zone))), end, most=2 * len(ours) + 60)
        verdict.asked[library, rhythm, clocks] += 1
        symptom = _symptom(ours, theirs, base)
        if symptom is None:
            continue
        fault = Fault(library, rhythm, clocks, symptom)
        verdict.faults[fault] += 1
        if fault not in KNOWN:
            verdict.unexplained.append(f"{library} {symptom}: {expression} in {change.zone} from {base}")


def _until(instants: Iterator[datetime], end: datetime, *, most: int) -> list[datetime]:
    found: list[datetime] = []
    for instant in instants:
        if instant > end or len(found) == most:
            break
        found.append(instant.astimezone(UTC))
    return found


def _symptom(ours: Sequence[datetime], theirs: Sequence[datetime], base: datetime) -> str | None:
    if list(ours) == list(theirs):
        return None
    if any(instant <= base for instant in theirs):
        return PAST
    if any(earlier >= later for earlier, later in pairwise(theirs)):
        return STUCK
    return LOST if set(ours) - set(theirs) else ADDED


# The report -----------------------------------------------------------------------------------------------------------


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev prove cron-zones", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--from", type=int, default=2026, dest="first", help="the first year (2026)")
    parser.add_argument("--years", type=int, default=3, help="how many years (3)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="changes at a time (one a core)")
    return parser.parse_args()


def _judge_all(arguments: argparse.Namespace, console: Console) -> tuple[int, list[Change], Verdict]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    zones = sorted(available_timezones() - NOT_ZONES)
    first = date(arguments.first, 1, 1)
    found: list[Change] = []
    verdict = Verdict()
    with (
        Progress(*columns, TimeRemainingColumn(), console=console) as progress,
        ProcessPoolExecutor(arguments.processes) as pool,
    ):
        task = progress.add_task("zones", total=len(zones))
        for of_zone in pool.map(partial(changes_of, first=first, years=arguments.years), zones, chunksize=8):
            found += of_zone
            progress.advance(task)
        distinct = {change[1:]: change for change in found}
        task = progress.add_task("their changes", total=len(found))
        for judged in pool.map(judge, [(change, distinct[change[1:]] is change) for change in found]):
            verdict.add(judged)
            progress.advance(task)
    return len(zones), found, verdict


def _print_peers(verdict: Verdict, console: Console) -> None:
    table = Table("library", "patterns", "clocks go", "what it does", "cases", "of", "why")
    for fault, count in sorted(verdict.faults.items()):
        asked = verdict.asked[fault[:3]]
        table.add_row(*fault, f"{count:,}", f"{asked:,}", KNOWN.get(fault, "[red]not explained[/]"))
    console.print(table)


def main() -> int:
    """Print what was compared, and return 1 where the claim does not hold."""
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
    zones, found, verdict = _judge_all(arguments, console)
    moved = [change for change in found if change.shown != change.expected]
    _print_peers(verdict, console)
    for name, total in (
        (f"zones of tzdata {tzdata.IANA_VERSION}", zones),
        ("changes of their clocks", len(moved)),
        ("distinct changes", len({change[1:] for change in moved})),
        ("zones without a change", len(found) - len(moved)),
        ("cases: 24 patterns at each", verdict.cases),
        ("disagreements with the oracle", len(verdict.wrong)),
        ("questions to the peers", sum(verdict.asked.values())),
        ("disagreements of the peers", sum(verdict.faults.values())),
        ("of them not explained", len(verdict.unexplained)),
    ):
        console.print(f"{name:32}{total:>10,}")
    for problem in [*verdict.wrong, *verdict.unexplained][:20]:
        console.print(f"[red]{problem}[/]", highlight=False)
    return int(bool(verdict.wrong or verdict.unexplained))


if __name__ == "__main__":
    sys.exit(main())
