"""Reads crontabs: those of users, and those of the system with a column for the user.

The rules are those of Debian's cron (`man 5 crontab`; `env.c`, `entry.c` and `do_command.c` of its source), and
`CRON_TZ` is that of cronie:

- an assignment holds for the lines after it; its value is taken as it stands, quotes around it are taken off;
- the first five words of an entry, or a macro, say when; then comes, in a system crontab, the user; the rest is the
  command, and a `#` in it is no comment;
- an unescaped `%` ends the command: what follows is its standard input, where each further one begins a line.

Nothing is lost: every line that is not empty comes back as one of the classes below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mainspring.domain.crontab_comments import CommentBlock
from mainspring.domain.schedule import Cron, OnStartup, parse_schedule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ENTRY: Final = re.compile(r"(?P<schedule>@\S+|[^@\s]\S*(?:[ \t]+\S+){4})(?:[ \t]+(?P<rest>.*))?")
_ASSIGNMENT: Final = re.compile(
    r"""(?P<name>"[^"=]*"|'[^'=]*'|[^\s='"][^\s=]*)\s*=\s*(?P<value>"[^"]*"\s*$|'[^']*'\s*$|(?!["']).*$)"""
)
_PERCENT: Final = re.compile(r"\\.|%", re.DOTALL)
_QUOTES: Final = ("'", '"')
_ZONE: Final = "CRON_TZ"


@dataclass(frozen=True, slots=True)
class CrontabJob:
    """An entry.

    Attributes:
        line: Its number in the file, from 1.
        schedule: When it runs.
        command: What the shell is given.
        stdin: What the command reads on standard input; None: nothing.
        user: Whom it runs as; None: whose crontab it is.
        environment: What the assignments before it say.
        description: The comment right above it.
    """

    line: int
    schedule: Cron | OnStartup
    command: str
    stdin: str | None = None
    user: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    description: str = ""

    @property
    def expression(self) -> str:
        """When it runs, as a crontab has it."""
        return self.schedule.expression if isinstance(self.schedule, Cron) else "@reboot"


@dataclass(frozen=True, slots=True)
class CrontabComment:
    """Lines of comment that describe no entry, without their `#`."""

    line: int
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class CrontabAssignment:
    """A variable that the entries after it have in their environment."""

    line: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class UnreadableLine:
    """A line that is no comment, no assignment and no entry, and why."""

    line: int
    text: str
    reason: str


CrontabItem = CrontabJob | CrontabComment | CrontabAssignment | UnreadableLine


def read_crontab(text: str, *, tz: str = "UTC", has_users: bool = False) -> list[CrontabItem]:
    r"""Read a whole crontab.

    Args:
        text: Its text.
        tz: The zone of its times, until it says another one with `CRON_TZ`.
        has_users: Whether its entries name a user, as those of `/etc/crontab` and of files in `/etc/cron.d` do.

    Returns:
        What is in it, in order.

    Example:
        >>> [job] = read_crontab("30 2 * * 1-5 backup --all % first%second")
        >>> job.schedule.describe(), job.command, job.stdin
        ('Every weekday at 2:30 AM', 'backup --all ', ' first\nsecond\n')
    """
    reader = _Reader(tz, has_users=has_users)
    for number, line in enumerate(text.split("\n"), start=1):
        reader.take(number, line.lstrip(" \t").rstrip("\r"))
    reader.end_comment()
    return reader.items


class _Reader:
    def __init__(self, tz: str, *, has_users: bool) -> None:
        self.items: list[CrontabItem] = []
        self._tz = tz
        self._has_users = has_users
        self._environment: dict[str, str] = {}
        self._comment = CommentBlock()

    def take(self, number: int, line: str) -> None:
        """Read one line."""
        if line.startswith("#"):
            self._comment.add(number, line)
        elif not line.strip():
            self.end_comment()
        elif (assignment := _ASSIGNMENT.fullmatch(line)) is not None:
            self.end_comment()
            self._assign(number, _unquoted(assignment["name"]), _unquoted(assignment["value"].rstrip()))
        else:
            self._read_entry(number, line)

    def end_comment(self) -> None:
        """Keep what was collected as a comment of its own."""
        left = self._comment.take_all()
        if left is not None:
            self.items.append(CrontabComment(*left))

    def _assign(self, number: int, name: str, value: str) -> None:
        self._environment[name] = value
        if name == _ZONE:
            self._tz = value
        self.items.append(CrontabAssignment(number, name, value))

    def _read_entry(self, number: int, line: str) -> None:
        try:
            job = self._entry(number, line)
        except ValueError as error:  # a CronError is one
            self.end_comment()
            self.items.append(UnreadableLine(number, line, str(error)))
            return
        self.end_comment()
        self.items.append(job)

    def _entry(self, number: int, line: str) -> CrontabJob:
        found = _ENTRY.fullmatch(line)
        if found is None:
            raise ValueError(
                "it is no assignment, and too short for an entry: minute, hour, day, month, weekday, command"
            )
        schedule = parse_schedule(" ".join(found["schedule"].split()), self._tz)
        user, given = None, found["rest"] or ""
        if self._has_users:
            user, given = [*given.split(maxsplit=1), "", ""][:2]
        command, stdin = split_percent(given)
        if not command.strip():
            wanted = "a user and a command" if self._has_users else "a command"
            raise ValueError(f"it says when, but not what: after the schedule comes {wanted}")
        return CrontabJob(
            line=number,
            schedule=schedule,
            command=command,
            stdin=stdin,
            user=user,
            environment=dict(self._environment),
            description=self._comment.take_description(),
        )


def split_percent(command: str) -> tuple[str, str | None]:
    r"""Return a command without what follows its first unescaped `%`, and that as its input.

    A backslash before `%` or another backslash is taken off in the command, in the input only before `%`: so does
    Debian's cron. An input always ends with the end of a line.

    Example:
        >>> split_percent(r"date +\%F")
        ('date +%F', None)
        >>> split_percent("mail -s hello ada%Dear Ada,%%yours%")
        ('mail -s hello ada', 'Dear Ada,\n\nyours\n')
    """
    end = next((mark.start() for mark in _PERCENT.finditer(command) if mark[0] == "%"), None)
    head = command if end is None else command[:end]
    head = re.sub(r"\\([%\\])", r"\1", head)
    if end is None or not command[end + 1 :]:
        return head, None
    written = re.sub(r"\\%|%", lambda mark: "%" if mark[0] == "\\%" else "\n", command[end + 1 :])
    return head, written if written.endswith("\n") else f"{written}\n"


def _unquoted(text: str) -> str:
    return text[1:-1] if text.startswith(_QUOTES) else text
