"""What a rule is, what it looks at, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mainspring.checking.handler_source import HandlerSource
    from mainspring.domain.job import JobDefinition
    from mainspring.jobs.registry import RegisteredJob


class Severity(StrEnum):
    """What a finding means for a CI: an error fails it, a warning is told."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Subject:
    """A job as rules see it.

    Attributes:
        job: The job.
        source: What its author wrote; None where that cannot be read, such as for a command.
    """

    job: RegisteredJob
    source: HandlerSource | None

    @property
    def definition(self) -> JobDefinition:
        """What the job is."""
        return self.job.definition

    @property
    def is_scheduled(self) -> bool:
        """Whether it runs without being asked for."""
        return self.definition.schedule is not None or self.definition.run_on_startup


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one rule sees at one place.

    Attributes:
        message: What is so, about this job.
        line: Where, in the file of the handler; None: where the job is declared.
    """

    message: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a job has to be.

    Attributes:
        code: `MS` and three digits; it never changes its meaning.
        title: What is found, in a few words.
        severity: What it means unless somebody says otherwise.
        mend: What to do.
        look: Returns what it sees of a job.
    """

    code: str
    title: str
    severity: Severity
    mend: str
    look: Callable[[Subject], Iterable[Sighting]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is not done, where, and how to mend it.

    Attributes:
        code: That of the rule.
        severity: `error` or `warning`.
        job: The job.
        file: The file that it is declared in; None where nobody knows.
        line: The line there.
        message: What is so.
        mend: What to do.
    """

    code: str
    severity: Severity
    job: str
    file: str | None
    line: int | None
    message: str
    mend: str
