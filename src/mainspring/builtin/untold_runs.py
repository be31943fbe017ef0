"""Runs that the store could not be told of: they wait in a file of this machine for the next one that can."""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from mainspring.domain.execution import Outcome, Status
from mainspring.store.queue.finishes import Finish

if TYPE_CHECKING:
    from collections.abc import Generator

    from mainspring.settings import Settings

_MOST_BYTES: Final = 10_000_000
"""Of a job that runs each minute while the store is away for days, the first runs are kept."""


@dataclass(frozen=True, slots=True)
class UntoldRun:
    """A run that has ended.

    Attributes:
        finish: Its end; a fence of 0: the store has never heard of it.
        started_at: When it began, by the clock of this machine.
        attempts: How often it was tried.
    """

    finish: Finish
    started_at: datetime
    attempts: int = 1

    def as_line(self) -> bytes:
        """Return it as a line of the file."""
        return orjson.dumps(asdict(self)) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> UntoldRun:
        """Return the run that `as_line` wrote.

        Raises:
            ValueError: Nobody wrote it so.
        """
        said: dict[str, Any] = orjson.loads(line)
        try:
            finish = said["finish"] | {
                "id": UUID(said["finish"]["id"]),
                "status": Status(said["finish"]["status"]),
                "outcome": Outcome(said["finish"]["outcome"]),
            }
            return cls(Finish(**finish), datetime.fromisoformat(said["started_at"]), said["attempts"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is no run that was kept here: {error}") from error


class UntoldRuns:
    """The file of one job and one store, in the state folder of the user (`XDG_STATE_HOME`).

    Args:
        settings: Which store.
        name: Which job.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        of = f"{settings.database_url}\0{settings.environment}\0{name}"
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        self.path = state / "mainspring" / f"untold-{hashlib.sha256(of.encode()).hexdigest()[:16]}.jsonl"

    def keep(self, run: UntoldRun) -> bool:
        """Keep a run until the store can be told of it; False: there is no room for it.

        Raises:
            OSError: The file cannot be written.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked("ab") as file:
            if file.tell() > _MOST_BYTES:
                return False
            file.write(run.as_line())
        return True

    @contextmanager
    def taken(self) -> Generator[list[UntoldRun]]:
        """Yield all that is kept, for a block that tells the store of it; where the block fails, it stays.

        Raises:
            OSError: The file cannot be read, or another process tells of it at this moment.
        """
        if not self.path.exists():
            yield []
            return
        with self._locked("r+b", fcntl.LOCK_NB) as file:
            yield list(self._read(file))
            file.truncate(0)

    @staticmethod
    def _read(file: IO[bytes]) -> Generator[UntoldRun]:
        for line in file:
            with suppress(ValueError):  # half a line, of a disk that was full
                yield UntoldRun.from_line(line)

    @contextmanager
    def _locked(self, mode: str, how: int = 0) -> Generator[IO[bytes]]:
        with self.path.open(mode) as file:
            fcntl.flock(file, fcntl.LOCK_EX | how)
            yield file
