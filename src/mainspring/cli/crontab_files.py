"""Which files a crontab is read from, and what is in them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from mainspring.cli.local_zone import zone_of_this_machine
from mainspring.domain.crontab import CrontabItem, CrontabJob, read_crontab
from mainspring.domain.crontab_names import names_of

_RUN_PARTS: Final = re.compile(r"[A-Za-z0-9_-]+")
_STANDARD_INPUT: Final = "-"


@dataclass(frozen=True, slots=True)
class Crontab:
    """A crontab that was read.

    Attributes:
        origin: Where it was read, for people.
        items: What is in it, in order.
        has_users: Whether its entries name a user.
    """

    origin: str
    items: list[CrontabItem]
    has_users: bool

    @property
    def jobs(self) -> list[CrontabJob]:
        """Its entries."""
        return [item for item in self.items if isinstance(item, CrontabJob)]


@dataclass(frozen=True, slots=True)
class Crontabs:
    """All that one command reads.

    Attributes:
        files: One crontab, or those of a folder.
        ignored: Files of the folder whose names cron does not read either.
    """

    files: list[Crontab]
    ignored: list[str]

    @property
    def jobs(self) -> list[CrontabJob]:
        """The entries of all of them."""
        return [job for crontab in self.files for job in crontab.jobs]

    @property
    def names(self) -> list[str]:
        """The names of their jobs, in the same order."""
        return names_of(self.jobs)


def read_crontabs(place: str, *, tz: str | None, is_system: bool) -> Crontabs:
    """Read a file, the files of a folder, or standard input (`-`).

    Of a folder those are read whose names `run-parts` takes: letters, digits, underscores and hyphens.

    Args:
        place: Where.
        tz: The zone of the times; None: that of this machine.
        is_system: Whether entries name a user wherever they were read; in `/etc/crontab` and `cron.d` they do anyway.

    Raises:
        typer.BadParameter: There is no such file, or it may not be read.
    """
    zone = tz or zone_of_this_machine()
    if place == _STANDARD_INPUT:
        return Crontabs([_read(sys.stdin.buffer.read(), "standard input", zone, is_system=is_system)], [])
    path = Path(place)
    try:
        if not path.is_dir():
            is_system = is_system or _is_system_crontab(path)
            return Crontabs([_read(path.read_bytes(), str(path), zone, is_system=is_system)], [])
        files = sorted(file for file in path.iterdir() if file.is_file())
        taken = [file for file in files if _RUN_PARTS.fullmatch(file.name)]
        read = [
            _read(file.read_bytes(), str(file), zone, is_system=is_system or _is_system_crontab(file)) for file in taken
        ]
    except OSError as error:
        raise typer.BadParameter(f"{place} cannot be read: {error.strerror}", param_hint="FILE") from error
    return Crontabs(read, [file.name for file in files if file not in taken])


def _is_system_crontab(path: Path) -> bool:
    path = path.absolute()
    return path.parent.name == "cron.d" or (path.name == "crontab" and path.parent.name == "etc")


def _read(data: bytes, origin: str, tz: str, *, is_system: bool) -> Crontab:
    text = data.decode("utf-8", "surrogateescape")
    return Crontab(origin, read_crontab(text, tz=tz, has_users=is_system), is_system)
