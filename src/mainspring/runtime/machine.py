"""What is left of the machine, or of the control group of this process where that allows less."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mainspring.domain.slots import Pressure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mainspring.world import World

_GROUPS: Final = Path("sys/fs/cgroup")
_IDLE: Final = slice(3, 5)
"""Idle, and idle while a disk works (proc(5))."""
_MOST_KINDS: Final = 8
"""Time of guests, which follows, is counted in that of users already."""
_MICROSECONDS: Final = 1_000_000


class Machine:
    """Reads what Linux says of processors and memory; elsewhere, and where it says nothing, both count as free.

    Args:
        world: The monotonic clock.
        root: Where `/proc` and `/sys` are.
    """

    def __init__(self, world: World, root: Path = Path("/")) -> None:
        self._world = world
        self._root = root
        self._groups = list(self._find_groups())
        self._looked_at = world.monotonic()
        self._processors = self._processor_time()
        self._used_by_groups = self._time_of_groups()
        self._computed = time.thread_time()

    def look(self) -> Pressure:
        """Return what was in use since the last look; call it on the event loop, whose time is that of its thread."""
        now, processors, used = self._world.monotonic(), self._processor_time(), self._time_of_groups()
        computed = time.thread_time()
        elapsed = max(now - self._looked_at, 1e-3)
        shares = [_share(processors[0] - self._processors[0], processors[1] - self._processors[1])]
        for group, seconds in used.items():
            shares.append(_share(seconds - self._used_by_groups.get(group, seconds), _processors_of(group) * elapsed))
        event_loop = _share(computed - self._computed, elapsed)
        self._looked_at, self._processors, self._used_by_groups, self._computed = now, processors, used, computed
        return Pressure(cpu=max(shares), memory=self._memory(), event_loop=event_loop)

    def _find_groups(self) -> Iterator[Path]:
        """Return the control groups of this process, its own first: each may have a limit (cgroups(7), version 2)."""
        top = self._root / _GROUPS
        name = ""
        for line in _lines(self._root / "proc/self/cgroup"):
            if line.startswith("0::/"):
                name = line.removeprefix("0::/")
        group = top / name
        while group != top:
            yield group
            group = group.parent
        yield top

    def _processor_time(self) -> tuple[float, float]:
        """Return the time that all processors have worked, and all of it, in a unit that cancels out."""
        for line in _lines(self._root / "proc/stat"):
            kinds = [float(text) for text in line.split()[1 : 1 + _MOST_KINDS]]
            return sum(kinds) - sum(kinds[_IDLE]), sum(kinds)
        return 0.0, 0.0

    def _time_of_groups(self) -> dict[Path, float]:
        """Return the seconds of processor time that each group with a limit has used."""
        limited = [group for group in self._groups if _processors_of(group)]
        return {group: _figures(group / "cpu.stat").get("usage_usec", 0) / _MICROSECONDS for group in limited}

    def _memory(self) -> float:
        machine = _figures(self._root / "proc/meminfo")
        total = machine.get("MemTotal", 0)
        shares = [_share(total - machine.get("MemAvailable", total), total)]
        for group in self._groups:
            limit, used = _number(group / "memory.max"), _number(group / "memory.current")
            shares.append(_share(used - _figures(group / "memory.stat").get("inactive_file", 0), limit))
        return max(shares)


def memory_of_this_process(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that this process holds, without its children (proc(5)); None: Linux alone says it.

    Args:
        root: Where `/proc` is.
    """
    for line in _lines(root / "proc/self/statm"):
        return int(line.split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0


def _processors_of(group: Path) -> float:
    """Return how many processors a group may use; 0: it has no limit."""
    for line in _lines(group / "cpu.max"):
        quota, period = line.split()
        return 0.0 if quota == "max" else int(quota) / int(period)
    return 0.0


def _number(file: Path) -> int:
    """Return the number in a file; 0: there is none, or it says `max`."""
    return next((int(line) for line in _lines(file) if line.isdigit()), 0)


def _figures(file: Path) -> dict[str, int]:
    """Return the numbers of a file that has a name and a number in each line."""
    lines = [line.split() for line in _lines(file)]
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").splitlines()
    except OSError:  # another system, another version of control groups, or a group without this controller
        return []
