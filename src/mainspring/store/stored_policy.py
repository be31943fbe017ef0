"""What a stored definition says about tries: its retries and its timeout, as the domain has them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.job import DEFAULT_TIMEOUT, Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

_DURATIONS: Final = frozenset({"base", "cap", "deadline"})


def retry_of(said: Mapping[str, Any]) -> Retry | None:
    """Return the retries of a job; None: it declares none.

    Args:
        said: The `code` of its definition, with what admins changed beside it.
    """
    stored: Mapping[str, Any] | None = said.get("retry")
    if not stored:
        return None
    return Retry(**{name: _duration(name, value) for name, value in stored.items()})


def timeout_of(said: Mapping[str, Any]) -> timedelta:
    """Return the longest that an attempt may run."""
    seconds: float | None = said.get("timeout")
    return DEFAULT_TIMEOUT if seconds is None else timedelta(seconds=seconds)


def _duration(name: str, value: Any) -> Any:  # noqa: ANN401 - a field of `Retry`
    return timedelta(seconds=value) if name in _DURATIONS and value is not None else value
