"""What a self-check finds: answers to single questions, and the scripts that they make up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from mainspring.errors import MainspringError

_MOST_SAID: Final = 500


class Verdict(StrEnum):
    """How the answer to a question is to be taken."""

    OK = "ok"
    WARNING = "warning"
    """It works, and somebody should look at it."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It could not be asked, or there was nothing to ask."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question.

    Attributes:
        check: What was asked.
        verdict: Whether it is well.
        detail: What was found, and what to do where it is not well.
        error: What a program would have run into; it decides how `doctor` ends.
    """

    check: str
    verdict: Verdict
    detail: str
    error: MainspringError | None = None

    @classmethod
    def of_error(cls, check: str, error: MainspringError) -> Finding:
        """Return that something failed, in the words of its error."""
        return cls(check, Verdict.FAILED, str(error), error)


class ScriptStatus(StrEnum):
    """How a script ended, in the words of the platform-jobs document."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Script:
    """Questions that are asked together.

    Attributes:
        name: What it is called in results: `validate-db`, `check-stock`.
        examine: Asks them, and returns a list of findings. A check of the application returns a text, or nothing.
        timeout: How long it may take.
    """

    name: str
    examine: Callable[[], object]
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """What a script found.

    Attributes:
        name: The script.
        findings: Its answers, at least one.
        seconds: How long it took.
    """

    name: str
    findings: Sequence[Finding]
    seconds: float

    @property
    def status(self) -> ScriptStatus:
        """Whether it passed: nothing failed, and something was asked."""
        verdicts = {finding.verdict for finding in self.findings}
        if Verdict.FAILED in verdicts:
            return ScriptStatus.FAILED
        return ScriptStatus.SKIPPED if verdicts == {Verdict.SKIPPED} else ScriptStatus.PASSED

    @property
    def message(self) -> str:
        """What failed or why it was skipped; what was found where it passed."""
        telling = [finding for finding in self.findings if finding.verdict is Verdict.FAILED] or self.findings
        said = (each.detail if each.check == self.name else f"{each.check}: {each.detail}" for each in telling)
        return "; ".join(said)[:_MOST_SAID]
