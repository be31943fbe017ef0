"""How each figure of a peer is taken: by its adapter in a process of its own, and by looks from outside."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.peers.environments import HERE
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from benchmarks.peers.environments import Peer
    from benchmarks.peers.servers import Servers

_world = RealWorld()
_LOOK_SECONDS: Final = 0.003
_START_SECONDS: Final = 30.0
_DRAIN_SECONDS: Final = 120.0
_SETTLED_SECONDS: Final = 1.5
_IDLE_SECONDS: Final = 2.0
_PACE: Final = 20
SINGLES: Final = 500
_Mark: Final = struct.Struct("dd")


class MeasurementError(Exception):
    """A peer did not do what it was to do; its words are in the message."""


@dataclass(slots=True)
class Figures:
    """What was measured of one peer in one round; what it cannot do is None.

    Attributes:
        enqueued: Jobs a second, one after the other, each acknowledged before the next.
        enqueued_in_bulk: Jobs a second by the call that the library has for many.
        drained: Jobs a second, from the first handler's start until the last job is recorded complete.
        worker_cpu_ms: Processor time of the worker's processes for each of them.
        service_cpu_ms: The same of PostgreSQL or Valkey.
        latencies_ms: From sending to the handler's start, at 20 a second on an idle worker; ascending.
        idle_cpu_share: Of one core, while nothing is to be done.
        memory_mb: Of the worker's processes, after the first job.
        start_seconds: From the start of the process to that of the first handler.
    """

    enqueued: float = 0.0
    enqueued_in_bulk: float | None = None
    drained: float = 0.0
    worker_cpu_ms: float = 0.0
    service_cpu_ms: float | None = None
    latencies_ms: list[float] = field(default_factory=list[float])
    idle_cpu_share: float = 0.0
    memory_mb: float = 0.0
    start_seconds: float = 0.0


class Bench:
    """Measures peers on the same servers.

    Args:
        folder: For files of theirs.
        servers: PostgreSQL and Valkey.
    """

    def __init__(self, folder: Path, servers: Servers) -> None:
        self._folder = folder
        self._marks = folder / "marks"
        self._servers = servers
        self._environment = os.environ | {
            "BENCH_HOME": str(folder),
            "BENCH_MARKS": str(self._marks),
            "BENCH_PG_URL": servers.postgresql,
            "BENCH_REDIS_URL": servers.redis,
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def settings_of(self, peer: Peer) -> str:
        """Return what its adapter has set, in words."""
        return str(self._ask(peer, "info")["settings"])

    def measure(self, peer: Peer, *, seconds: float) -> Figures:
        """Return all figures of one round.

        Args:
            peer: Whose.
            seconds: How long its latency is looked at; 0: it is not, and neither is the idle worker.

        Raises:
            MeasurementError: It did not answer, began no job, or did not end them in two minutes.
        """
        figures = Figures()
        self._ask(peer, "reset")
        figures.enqueued = self._ask(peer, "single", SINGLES)["rate"] or 0.0
        self._ask(peer, "reset")
        figures.enqueued_in_bulk = self._ask(peer, "bulk", peer.backlog)["rate"]
        self._drain(peer, figures)
        if seconds:
            self._ask(peer, "reset")
            self._ask(peer, "bulk", 1)
            self._wait_on(peer, seconds, figures)
        return figures

    def _ask(self, peer: Peer, *words: object) -> dict[str, float | None]:
        command = [str(peer.python), "-m", f"adapters.{peer.name}", *map(str, words)]
        done = subprocess.run(  # noqa: S603 - our own words
            command, cwd=HERE, env=self._environment, capture_output=True, text=True, timeout=180, check=False
        )
        if done.returncode:
            raise MeasurementError(f"{peer.name} {words[0]}: {done.stderr[-1500:]}")
        said = [line for line in done.stdout.splitlines() if line.startswith("{")]
        return json.loads(said[-1]) if said else {}

    @contextmanager
    def _program(self, peer: Peer, command: str) -> Generator[subprocess.Popen[str]]:
        with (self._folder / f"{peer.name}-{command}.log").open("w") as log:
            process = subprocess.Popen(  # noqa: S603 - our own words
                [peer.python, "-m", f"adapters.{peer.name}", command],
                cwd=HERE,
                env=self._environment | {"BENCH_N": str(peer.backlog), "MAINSPRING_SECRET_KEY": "0" * 64},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if command == "watch" else log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # its own session, with all it has started
                process.communicate()

    def _drain(self, peer: Peer, figures: Figures) -> None:
        self._marks.unlink(missing_ok=True)
        service = self._service_of(peer)
        with self._program(peer, "watch") as watch:
            _said_by(watch)
            with self._program(peer, "worker") as worker:
                self._await_marks(peer, worker, 1, _START_SECONDS)
                worker_began, service_began = _processor_seconds(worker.pid), _processor_seconds(service)
                self._await_marks(peer, worker, peer.backlog, _DRAIN_SECONDS)
                watch.stdin.write("\n")  # pyright: ignore[reportOptionalMemberAccess] - it is a pipe
                watch.stdin.flush()  # pyright: ignore[reportOptionalMemberAccess] - as above
                ended_at = json.loads(_said_by(watch))["at"]
                worker_used = _processor_seconds(worker.pid) - worker_began
                service_used = _processor_seconds(service) - service_began
        figures.drained = peer.backlog / (ended_at - min(began for _sent, began in self._read_marks()))
        figures.worker_cpu_ms = worker_used / peer.backlog * 1000
        figures.service_cpu_ms = service_used / peer.backlog * 1000 if service else None

    def _wait_on(self, peer: Peer, seconds: float, figures: Figures) -> None:
        """Look at a worker that has next to nothing to do."""
        self._marks.unlink(missing_ok=True)
        began = _world.monotonic()
        with self._program(peer, "worker") as worker:
            self._await_marks(peer, worker, 1, _START_SECONDS)
            figures.start_seconds = self._read_marks()[0][1] - began
            _world.pause(_SETTLED_SECONDS)
            figures.memory_mb = sum(process.memory_info().rss for process in _family(worker.pid)) / 1e6
            used = _processor_seconds(worker.pid)
            _world.pause(_IDLE_SECONDS)
            figures.idle_cpu_share = (_processor_seconds(worker.pid) - used) / _IDLE_SECONDS
            self._ask(peer, "pace", _PACE, seconds)
            self._await_marks(peer, worker, 1 + int(_PACE * seconds), _START_SECONDS)
        figures.latencies_ms = sorted((began - sent) * 1000 for sent, began in self._read_marks() if sent)

    def _service_of(self, peer: Peer) -> int:
        return self._servers.processes.get(str(self._ask(peer, "info")["backend"]), 0)

    def _read_marks(self) -> list[tuple[float, float]]:
        return [(sent, began) for sent, began in _Mark.iter_unpack(self._marks.read_bytes())]

    def _await_marks(self, peer: Peer, worker: subprocess.Popen[str], count: int, seconds: float) -> None:
        deadline = _world.monotonic() + seconds
        while not self._marks.exists() or self._marks.stat().st_size < count * _Mark.size:
            if worker.poll() is not None or _world.monotonic() > deadline:
                said = (self._folder / f"{peer.name}-worker.log").read_text()[-1500:]
                raise MeasurementError(f"{peer.name} did not begin {count} jobs in {seconds:.0f} s: {said}")
            _world.pause(_LOOK_SECONDS)


def _said_by(program: subprocess.Popen[str]) -> str:
    line = program.stdout.readline()  # pyright: ignore[reportOptionalMemberAccess] - it is a pipe
    if not line:
        raise MeasurementError(f"{program.args} has ended without a word")
    return line


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _processor_seconds(pid: int) -> float:
    """Return the processor time of a process, its children, and those that have ended; 0: there is none."""
    total = 0.0
    for process in _family(pid) if pid else ():
        with suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    return total
