"""Every rule on every job of an application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.checking.call_rules import CALL_RULES
from mainspring.checking.definition_rules import DEFINITION_RULES
from mainspring.checking.exception_rules import EXCEPTION_RULES
from mainspring.checking.handler_source import source_of
from mainspring.checking.rule import Finding, Severity, Subject
from mainspring.errors import ConfigurationError
from mainspring.jobs.current_call import authors_function

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mainspring.checking.rule import Rule, Sighting
    from mainspring.jobs.registry import JobRegistry, RegisteredJob

RULES: Final[Mapping[str, Rule]] = {rule.code: rule for rule in (*DEFINITION_RULES, *EXCEPTION_RULES, *CALL_RULES)}
"""All rules, by their code."""


def inspect(registry: JobRegistry, severities: Mapping[str, Severity] | None = None) -> list[Finding]:
    """Return what is not done in an application, the jobs that came with mainspring left out.

    Args:
        registry: Its jobs.
        severities: What rules mean here, by code, instead of what they mean by default.

    Returns:
        The findings, by job in the order of their registration, then by code and line.

    Raises:
        ConfigurationError: No rule has such a code.
    """
    chosen = severities or {}
    _refuse_unknown(chosen)
    findings: list[Finding] = []
    for job in registry:
        if job.definition.name not in registry.built_in:
            findings += sorted(_found(job, chosen), key=lambda finding: (finding.code, finding.line or 0))
    return findings


def _refuse_unknown(severities: Mapping[str, Severity]) -> None:
    unknown = sorted(set(severities) - set(RULES))
    if unknown:
        raise ConfigurationError(f"no rule of `mainspring check` is called {unknown[0]}: there are {', '.join(RULES)}")


def _found(job: RegisteredJob, severities: Mapping[str, Severity]) -> Iterator[Finding]:
    subject = _subject(job)
    for rule in RULES.values():
        severity = severities.get(rule.code, rule.severity)
        if severity is Severity.OFF:
            continue
        for sighting in rule.look(subject):
            finding = _finding(subject, rule, severity, sighting)
            if finding is not None:
                yield finding


def _subject(job: RegisteredJob) -> Subject:
    if job.written is None or _is_ours(job):
        return Subject(job, None)
    return Subject(job, source_of(job.written))


def _is_ours(job: RegisteredJob) -> bool:
    """Whether the handler is code of mainspring that an author has only configured, as for a command."""
    written = job.written
    module = "" if written is None else getattr(authors_function(written), "__module__", None) or ""
    return module.partition(".")[0] == __name__.partition(".")[0] and not module.startswith("mainspring.sample")


def _finding(subject: Subject, rule: Rule, severity: Severity, sighting: Sighting) -> Finding | None:
    file, _, declared = ("", "", "") if _is_ours(subject.job) else subject.job.place.rpartition(":")
    line = sighting.line or (int(declared) if declared.isdigit() else None)
    source = subject.source
    if source is not None and any(source.ignores(place, rule.code) for place in {line or 0, source.line}):
        return None
    return Finding(rule.code, severity, subject.definition.name, file or None, line, sighting.message, rule.mend)
