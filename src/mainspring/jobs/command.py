"""What a command job runs: a program with its environment, its input and its user, as code declares it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypedDict

from mainspring.domain.write_door import clean_text
from mainspring.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from mainspring.domain.job import Schedule
    from mainspring.domain.retry import Retry
    from mainspring.domain.thresholds import Thresholds

_MAX_DESCRIPTION: Final = 200


class CommandOptions(TypedDict, total=False):
    """The options of `@app.job` that a command job may have; each may be left out."""

    schedule: Schedule
    display_name: str
    description: str
    group: str
    queue: str
    retry: Retry
    timeout: timedelta
    thresholds: Thresholds
    max_running: int
    overlap: Literal["skip", "queue", "cancel_running", "allow"]
    misfire: Literal["skip", "fire_once", "fire_all"]
    catch_up: timedelta
    jitter: timedelta
    pause_after: int
    enabled: bool
    depends_on: Sequence[str]
    on_lost: Literal["retry", "fail"]


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run, with its environment, input, folder and user.

    Attributes:
        program: The program and its arguments as a list, run without a shell; or one text, run as cron does, by
            `SHELL` of `env`, else `/bin/sh`, with `-c`.
        env: Environment variables, beside the few that every program gets (`environment_of`).
        stdin: The text on its standard input; None: it is empty.
        cwd: The folder that it starts in; `~` is the home directory; None: the node's own folder.
        user: The account that it runs as; None: the node's own account.

    Example:
        >>> Command(["pg_dump", "--file", "shop.sql", "shop"]).arguments
        ('pg_dump', '--file', 'shop.sql', 'shop')
        >>> Command("cd / && run-parts /etc/cron.daily").arguments
        ('/bin/sh', '-c', 'cd / && run-parts /etc/cron.daily')
    """

    program: str | Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    stdin: str | None = None
    cwd: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        """Refuse what names no program."""
        if not "".join([self.program] if isinstance(self.program, str) else self.program[:1]).strip():
            raise DefinitionError(
                f"{self.program!r} names no program: give one and its arguments as a list, or one text for the shell"
            )

    @property
    def arguments(self) -> tuple[str, ...]:
        """The program to start, and its arguments."""
        if isinstance(self.program, str):
            return (self.env.get("SHELL", "/bin/sh"), "-c", self.program)
        return tuple(self.program)

    @property
    def text(self) -> str:
        """The command as somebody would type it."""
        return self.program if isinstance(self.program, str) else shlex.join(self.program)

    @property
    def description(self) -> str:
        """The description of a job that has no other."""
        return f"Runs {clean_text(self.text, _MAX_DESCRIPTION)}"
