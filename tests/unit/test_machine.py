"""What is left of the machine, read from what Linux says."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring.runtime.machine import Machine, memory_of_this_process
from mainspring.testing.manual_clock import Clock, ManualWorld
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from pathlib import Path


class Linux:
    """The files that Linux shows, below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock(datetime(2026, 11, 22, tzinfo=UTC))
        self.processors(busy=0, idle=0)
        self.say("proc/meminfo", "MemTotal:  1000 kB\nMemFree:  10 kB\nMemAvailable:  700 kB\nHugePages_Total: 0\n")

    def say(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def processors(self, *, busy: int, idle: int) -> None:
        self.say("proc/stat", f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 1 1 1\n")

    def group(self, name: str, **files: str) -> None:
        for file, text in files.items():
            self.say(f"sys/fs/cgroup/{name}/{file.replace('_', '.', 1)}", text + "\n")

    def machine(self) -> Machine:
        return Machine(ManualWorld(self.clock), self.root)


@pytest.fixture
def linux(tmp_path: Path) -> Linux:
    return Linux(tmp_path)


def test_processors_are_those_of_the_machine_since_the_last_look(linux: Linux) -> None:
    linux.processors(busy=1_000, idle=1_000)
    machine = linux.machine()
    linux.processors(busy=1_090, idle=1_010)
    assert machine.look().cpu == pytest.approx(0.9)
    linux.processors(busy=1_090, idle=1_110)
    assert machine.look().cpu == 0


def test_time_that_waits_for_a_disk_is_idle(linux: Linux) -> None:
    machine = linux.machine()
    linux.say("proc/stat", "cpu  10 0 0 40 50 0 0 0\n")
    assert machine.look().cpu == pytest.approx(0.1)


def test_memory_is_what_the_kernel_could_not_give_back(linux: Linux) -> None:
    assert linux.machine().look().memory == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["", "kubepods/pod7"], ids=["namespace", "path"])
def test_the_control_group_decides_where_it_allows_less(linux: Linux, name: str) -> None:
    linux.say("proc/self/cgroup", f"0::/{name}\n")
    linux.group(name, cpu_max="50000 100000", cpu_stat="usage_usec 1000000\nuser_usec 5")
    linux.group(name, memory_max="1000", memory_current="900", memory_stat="anon 600\ninactive_file 100")
    machine = linux.machine()
    linux.clock.advance(timedelta(seconds=2))
    linux.processors(busy=10, idle=90)
    linux.group(name, cpu_stat="usage_usec 1800000\nuser_usec 5")
    pressure = machine.look()
    assert pressure.cpu == pytest.approx(0.8 / (2 * 0.5))
    assert pressure.memory == pytest.approx(0.8)


def test_a_group_above_counts_too_and_one_without_a_limit_does_not(linux: Linux) -> None:
    linux.say("proc/self/cgroup", "0::/pod/container\n")
    linux.group("pod/container", cpu_max="max 100000", cpu_stat="usage_usec 0", memory_max="max", memory_current="1")
    linux.group("pod", memory_max="1000", memory_current="950")
    assert linux.machine().look().memory == pytest.approx(0.95)


def test_where_nothing_is_said_everything_counts_as_free(tmp_path: Path) -> None:
    pressure = Machine(RealWorld(), tmp_path).look()
    assert (pressure.cpu, pressure.memory) == (0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says")
def test_this_machine_says_something() -> None:
    machine = Machine(RealWorld())
    sum(range(200_000))
    pressure = machine.look()
    assert 0 < pressure.memory <= 1
    assert 0 < pressure.event_loop <= 1


def test_the_memory_of_this_process_is_what_is_resident_where_linux_says_it(linux: Linux) -> None:
    assert memory_of_this_process(linux.root) is None
    linux.say("proc/self/statm", "90000 20000 5000 800 0 60000 0\n")
    assert memory_of_this_process(linux.root) == 20_000 * os.sysconf("SC_PAGE_SIZE")
