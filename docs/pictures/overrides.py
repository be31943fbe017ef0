"""Picture of `docs/schedules/overrides.md`: what code says, what an admin put in its place, and what is in force."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from docs.pictures.timeline import Picture, Run
from mainspring.domain.schedule import Cron
from mainspring.store.scheduling.stored_schedule import stored_schedule

DAY = timedelta(days=1)
START, END = datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 3, 7, tzinfo=UTC)
DEPLOYED = datetime(2027, 3, 3, 6, tzinfo=UTC)
OVERRIDDEN, EXPIRES = datetime(2027, 3, 2, 7, tzinfo=UTC), datetime(2027, 3, 5, 18, tzinfo=UTC)
BEFORE, AFTER, BY_ADMIN = "0 9 * * *", "0 6,15 * * *", "0 12 * * *"


def overrides() -> Picture:
    """An override over a deployment."""
    axis = [(START + number * DAY, f"{START + number * DAY:%A}") for number in range(6)]
    picture = Picture("An override stays through a deployment, and ends when it expires", START, END, axis)
    code = picture.lane("code", "a deployment on Wednesday")
    code.runs += [Run(START, DEPLOYED, BEFORE, "plain"), Run(DEPLOYED, END, AFTER, "plain")]
    override = picture.lane("override", "from Tuesday until Friday")
    override.runs.append(Run(OVERRIDDEN, EXPIRES, f"{BY_ADMIN}, by an admin", "plain"))
    in_force = picture.lane("in force", "what fires")
    for span in _spans():
        text = _in_force(span[0]).expression
        in_force.runs.append(Run(*span, text, "plain"))
        in_force.marks += [(instant, "fired") for instant in Cron(text).fires(*span)]
    return picture


def _spans() -> list[tuple[datetime, datetime]]:
    """Return the stretches of time in which the answer is one and the same."""
    edges = [START, OVERRIDDEN, EXPIRES, END]
    return list(pairwise(edges))


def _in_force(instant: datetime) -> Any:  # noqa: ANN401 - the text of a schedule
    """Ask the store's own rule, with a row as it stands at an instant."""
    is_overridden = instant >= OVERRIDDEN
    facts = {
        "now": instant + timedelta(seconds=1),
        "s_kind": "cron",
        "s_code_expression": AFTER if instant >= DEPLOYED else BEFORE,
        "s_code_timezone": "UTC",
        "s_code_enabled": True,
        "s_override_expression": BY_ADMIN if is_overridden else None,
        "s_override_timezone": None,
        "s_override_enabled": None,
        "s_override_by": "ada",
        "s_override_reason": None,
        "s_override_at": OVERRIDDEN,
        "s_override_expires_at": EXPIRES if is_overridden else None,
        "s_override_enabled_until": None,
        "s_paused_at": None,
        "s_paused_until": None,
        "s_paused_by": None,
        "s_paused_reason": None,
        "s_next_run_at": None,
        "s_watermark": None,
        "s_problem": None,
        "s_retired_at": None,
        "s_has_condition": False,
        "s_version": 1,
    }
    return stored_schedule(SimpleNamespace(_mapping=facts)).text
