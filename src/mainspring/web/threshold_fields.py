"""The thresholds of a job as fields of a form: how each is written, and between what it must lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from mainspring.domain.run_filter_values import seconds_of
from mainspring.web.words_thresholds import THRESHOLDS

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))


@dataclass(frozen=True, slots=True)
class ThresholdField:
    """A threshold.

    Attributes:
        name: As `Thresholds` calls it.
        kind: A duration such as `1h30m`, a share in percent, a count, or any number.
        least: The least that it may be; of durations in seconds, of shares in percent.
        most: The most.
        may_be_empty: Whether there may be no limit.
    """

    name: str
    kind: Literal["duration", "percent", "count", "number"]
    least: float
    most: float
    may_be_empty: bool = True

    def written(self, value: float | None) -> str:
        """Return a value as people write it; nothing for none.

        Example:
            >>> ThresholdField("staleness", "duration", 1, 10**7).written(5_400)
            '1h30m'
        """
        if value is None:
            return ""
        if self.kind == "duration":
            return _span(value)
        if self.kind == "count":
            return f"{value:.0f}"
        return f"{value * 100 if self.kind == 'percent' else value:g}"

    def read(self, text: str) -> float | None:
        """Return what somebody has written, as it is stored.

        Raises:
            ValueError: It cannot be read, or lies outside of its range; the message is for people.
        """
        said = text.strip().removesuffix("%").strip()
        if not said:
            if not self.may_be_empty:
                raise ValueError(THRESHOLDS.needed)
            return None
        value = self._number(said)
        if value is None or not self.least <= value <= self.most:
            most = self.written(self.most / 100 if self.kind == "percent" else self.most)
            least = self.written(self.least / 100 if self.kind == "percent" else self.least)
            raise ValueError(THRESHOLDS.wrong[self.kind].format(least=least, most=most))
        return value / 100 if self.kind == "percent" else value

    def _number(self, said: str) -> float | None:
        if self.kind == "duration":
            return seconds_of(said)
        try:
            return int(said) if self.kind == "count" else float(said)
        except ValueError:
            return None


FIELDS: Final = (
    ThresholdField("staleness", "duration", 1, 31_536_000),
    ThresholdField("failure_rate", "percent", 0, 100, may_be_empty=False),
    ThresholdField("consecutive_failures", "count", 1, 10_000, may_be_empty=False),
    ThresholdField("recovery", "count", 1, 10_000, may_be_empty=False),
    ThresholdField("execution_time", "duration", 0.001, 31_536_000),
    ThresholdField("shortest_time", "duration", 0.001, 31_536_000),
    ThresholdField("runs_per_hour", "count", 1, 1_000_000),
    ThresholdField("least_items", "count", 1, 2**53),
    ThresholdField("share_of_usual_items", "percent", 0, 100),
    ThresholdField("anomaly", "number", 0.1, 1_000),
    ThresholdField("trend_days", "count", 1, 3_650),
)


def changes_of(before: Mapping[str, Any], form: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the thresholds that a form changes, and what is wrong with its fields, each by name.

    Args:
        before: The thresholds in force.
        form: What somebody has written; a field that it lacks stays.
    """
    changed: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for field in FIELDS:
        if field.name not in form:
            continue
        try:
            value = field.read(form[field.name])
        except ValueError as problem:
            wrong[field.name] = str(problem)
            continue
        if value != before.get(field.name):
            changed[field.name] = value
    return changed, wrong


def _span(seconds: float) -> str:
    left, parts = seconds, list[str]()
    for size, unit in _UNITS:
        if left >= size:
            parts.append(f"{int(left // size)}{unit}")
            left %= size
    return "".join(parts) + (f"{left:g}s" if left or not parts else "")
