"""Tests that cannot run on a machine are counted `NOT RUN` in the last line, apart from those that are skipped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

_STATUS: Final = "NOT RUN"
_REQUIRED: Final = "REQUIRE_BROWSER"
"""Where it is set, as `.ci/run` does for root, such a test is a failure of the run."""


def not_run(reason: str) -> pytest.MarkDecorator:
    """Return the mark of a test for which this machine lacks something.

    Args:
        reason: What is missing, and how it is got.
    """
    return pytest.mark.skip(reason=f"{_STATUS}: {reason}")


def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, str] | None:
    """Count such a test apart."""
    return (_STATUS, "n", _STATUS) if _reason(report) else None


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say what is missing, once."""
    for reason in sorted({_reason(report) for report in terminalreporter.getreports(_STATUS)}):
        terminalreporter.line(reason, yellow=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run where every test has to run."""
    reporter: TerminalReporter | None = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.getreports(_STATUS) and _REQUIRED in os.environ:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return what is missing for a test that did not run; empty for any other."""
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return ""
    _path, _line, reason = report.longrepr
    return reason.removeprefix("Skipped: ") if _STATUS in reason else ""
