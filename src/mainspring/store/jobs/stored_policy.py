"""What a stored definition says about tries and limits: retries, breaker, timeout, thresholds, as the domain has it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.circuit_breaker import CircuitBreaker
from mainspring.domain.job import DEFAULT_TIMEOUT
from mainspring.domain.retry import Retry
from mainspring.domain.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping

_DURATIONS: Final = frozenset(
    {"base", "cap", "deadline", "staleness", "execution_time", "shortest_time", "window", "wait", "longest_wait"}
)


def retry_of(said: Mapping[str, Any]) -> Retry | None:
    """Return the retries of a job; None: it declares none.

    Args:
        said: The `code` of its definition, with what admins changed beside it.
    """
    stored: Mapping[str, Any] | None = said.get("retry")
    if not stored:
        return None
    return Retry(**{name: _duration(name, value) for name, value in stored.items()})


def breaker_of(said: Mapping[str, Any]) -> CircuitBreaker | None:
    """Return when a job stops being started; None: it declares no breaker."""
    stored: Mapping[str, Any] | None = said.get("breaker")
    if not stored:
        return None
    return CircuitBreaker(**{name: _duration(name, value) for name, value in stored.items()})


def timeout_of(said: Mapping[str, Any]) -> timedelta:
    """Return the longest that an attempt may run."""
    seconds: float | None = said.get("timeout")
    return DEFAULT_TIMEOUT if seconds is None else timedelta(seconds=seconds)


def thresholds_of(said: Mapping[str, Any]) -> Thresholds:
    """Return the limits whose breach opens an alert; what an older build has not written has its default."""
    stored: Mapping[str, Any] = said.get("thresholds") or {}
    return Thresholds(**{name: _duration(name, value) for name, value in stored.items()})


def _duration(name: str, value: Any) -> Any:  # noqa: ANN401 - a field of one of the three
    return timedelta(seconds=value) if name in _DURATIONS and value is not None else value
