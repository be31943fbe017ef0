"""Where alerts are sent: routes chosen by severity, rule, job, group, environment and time of day."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mainspring.domain.alert import AlertRule, Severity
from mainspring.domain.notification import DEFAULT_DESTINATION
from mainspring.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.domain.alert import Alert

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]|24):([0-5]\d)")
_MINUTES_OF_A_DAY: Final = 24 * 60
_LONGEST_DELAY: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Hours:
    """The days and hours in which a route sends alerts, in a time zone.

    Args:
        days: Days of the week, `mon` to `sun`.
        between: A span such as `09:00-18:00`; one that ends before it starts (`22:00-06:00`) runs past midnight.
        zone: An IANA time zone.

    Raises:
        DefinitionError: A day, the span or the zone is not valid.

    Example:
        >>> Hours(between="22:00-06:00", zone="Europe/Paris").start, Hours(between="09:00-18:00").end
        (1320, 1080)
    """

    days: tuple[str, ...] = DAYS
    between: str = "00:00-24:00"
    zone: str = "UTC"

    def __post_init__(self) -> None:
        """Refuse what cannot be read."""
        if not self.days or any(day not in DAYS for day in self.days):
            raise DefinitionError(f"days are {list(self.days)}: give some of {', '.join(DAYS)}")
        if not _HOURS.fullmatch(self.between) or self.end > _MINUTES_OF_A_DAY or self.start == self.end:
            raise DefinitionError(f"hours are {self.between!r}: write them like 09:00-18:00")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise DefinitionError(f"there is no time zone {self.zone!r}: give one such as Europe/Paris") from None

    @property
    def start(self) -> int:
        """Minutes after midnight."""
        return int(self.between[0:2]) * 60 + int(self.between[3:5])

    @property
    def end(self) -> int:
        """Minutes after midnight."""
        return int(self.between[6:8]) * 60 + int(self.between[9:11])

    def is_open(self, at: datetime) -> bool:
        """Whether an instant is within these days and hours."""
        local = at.astimezone(ZoneInfo(self.zone))
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return DAYS[day] in self.days and self.start <= minute < self.end
        # Over midnight: what is left of the night belongs to the day on which it began.
        return (DAYS[day] in self.days and minute >= self.start) or (DAYS[day - 1] in self.days and minute < self.end)

    def opens_at(self, at: datetime) -> datetime:
        """Return the first instant from `at` on that is within; instants, so that changes of clocks do no harm."""
        if self.is_open(at):
            return at
        zone = ZoneInfo(self.zone)
        local = at.astimezone(zone)
        opening = time(self.start // 60, self.start % 60)
        candidates = (
            datetime.combine(local.date() + timedelta(days=days), opening, zone).astimezone(at.tzinfo)
            for days in range(len(DAYS) + 1)
        )
        # An opening that a zone skips is a little later on the clocks that are.
        return next(start for start in candidates if start > at and DAYS[start.astimezone(zone).weekday()] in self.days)


@dataclass(frozen=True, slots=True)
class Route:
    """Where alerts of some kinds are sent. An alert is sent by every route that it matches.

    Args:
        channel: The kind of channel, such as `slack`.
        destination: Where to send, in that channel's terms, such as `#billing`.
        name: A name for people, unique among the routes of a deployment.
        severity: The least severity that is sent.
        rules: Only alerts of these rules; empty: of all rules.
        jobs: Only alerts of jobs whose names match one of these patterns, such as `billing-*`; empty: of all jobs, and
            alerts that are not about a job.
        groups: Only alerts of jobs in these groups; empty: in all groups.
        environments: Only in these environments; empty: in all.
        hours: When the route sends. Alerts raised at other times are sent when it opens, if they are still open.
        after: Escalation: 0 sends at once; a longer time sends only critical alerts that nobody has acknowledged by
            then. At most 7 days.
        owner: The user who chose the route for themselves; None: it is the deployment's.

    Raises:
        DefinitionError: The channel is missing, or `after` is out of its range.

    Example:
        >>> Route("slack", "#billing", severity=Severity.CRITICAL, groups=("billing",)).destination
        '#billing'
    """

    channel: str
    destination: str = DEFAULT_DESTINATION
    name: str = ""
    severity: Severity = Severity.WARNING
    rules: tuple[AlertRule, ...] = ()
    jobs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    hours: Hours = field(default=Hours())
    after: timedelta = timedelta(0)
    owner: str | None = None

    def __post_init__(self) -> None:
        """Refuse what could never be told."""
        if not self.channel:
            raise DefinitionError("a route needs a channel, such as slack")
        if not timedelta(0) <= self.after <= _LONGEST_DELAY:
            raise DefinitionError(f"after is {self.after}: it must be 0 to 7 days")

    @property
    def is_own(self) -> bool:
        """Whether a person chose it for themselves: it is in force as long as that person may see alerts."""
        return self.owner is not None and self.name == own_route_name(self.channel, self.owner)

    def fits(self, alert: Alert, group: str | None) -> bool:
        """Whether an alert of a job of this group goes this way, at whatever hour.

        Args:
            alert: The alert.
            group: The group of its job; None: it is of no job.
        """
        return (
            alert.severity.rank >= self.severity.rank
            and (not self.rules or alert.rule in self.rules)
            and self.may_tell_of(alert.job_name, group, alert.environment)
        )

    def may_tell_of(self, job_name: str | None, group: str | None, environment: str) -> bool:
        """Whether alerts of a job can go this way, whatever their rule and severity."""
        return (
            (not self.jobs or any(fnmatchcase(job_name or "", pattern) for pattern in self.jobs))
            and (not self.groups or group in self.groups)
            and (not self.environments or environment in self.environments)
        )

    def as_json(self) -> dict[str, Any]:
        """Return the form that is stored, and that `read` reads."""
        return {
            "channel": self.channel,
            "destination": self.destination,
            "name": self.name,
            "severity": self.severity.value,
            "rules": [rule.value for rule in self.rules],
            "jobs": list(self.jobs),
            "groups": list(self.groups),
            "environments": list(self.environments),
            "days": list(self.hours.days),
            "between": self.hours.between,
            "zone": self.hours.zone,
            "after": self.after.total_seconds(),
            "owner": self.owner,
        }

    @classmethod
    def read(cls, given: Mapping[str, object]) -> Route:
        """Read a route as settings and the store write it.

        Args:
            given: What `as_json` gives, or a part of it with at least `channel`; `after` in seconds.

        Raises:
            DefinitionError: There is a name that routes do not have, or a value that cannot be read.

        Example:
            >>> Route.read({"channel": "slack", "severity": "critical", "between": "09:00-18:00"}).hours.start
            540
        """
        known = {item.name for item in fields(cls)} - {"hours"} | _OF_HOURS
        if unknown := sorted(set(given) - known):
            raise DefinitionError(f"a route has no {unknown[0]!r}: there are {', '.join(sorted(known))}")
        if "channel" not in given:
            raise DefinitionError("a route needs a channel, such as slack")
        said = {name: _read_value(name, value) for name, value in given.items()}
        hours = Hours(**{name: said.pop(name) for name in _OF_HOURS & said.keys()})
        return cls(**said, hours=hours)


def own_route_name(channel: str, person: str) -> str:
    """Return the name of the route by which a person chose to be told.

    Example:
        >>> own_route_name("email", "ada@acme.example")
        'email of ada@acme.example'
    """
    return f"{channel} of {person}"


_OF_HOURS: Final = frozenset({"days", "between", "zone"})
_LISTS: Final = frozenset({"rules", "jobs", "groups", "environments", "days"})


def _read_value(name: str, value: object) -> Any:  # noqa: ANN401 - each name has a type of its own
    try:
        if name in _LISTS:
            texts = _texts(name, value)
            return tuple(AlertRule(text) for text in texts) if name == "rules" else texts
        if name == "severity":
            return Severity(str(value))
        if name == "after":
            return timedelta(seconds=float(str(value)))
    except (ValueError, OverflowError) as error:
        raise DefinitionError(f"a route's {name} cannot be read: {error}") from None
    if isinstance(value, str) or (name == "owner" and value is None):
        return value
    raise DefinitionError(f"a route's {name} is {value!r}: it must be text")


def _texts(name: str, value: object) -> tuple[str, ...]:
    items = cast("list[object]", value) if isinstance(value, (list, tuple)) else None
    if items is None or not all(isinstance(item, str) for item in items):
        raise DefinitionError(f"a route's {name} is {value!r}: it must be a list of texts")
    return tuple(cast("list[str]", items))
