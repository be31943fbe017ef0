"""How states look: an icon, a word and a colour each, never the colour alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Look:
    """How a state looks.

    Attributes:
        tone: The name of its colour in the style sheet: `ok fail run retry queue cancel skip stale`.
        icon: Its icon, a name of `frontend/src/icons.txt`.
        word: What it is called.
    """

    tone: str
    icon: str
    word: str


LOOKS: Final[Mapping[str, Look]] = {
    "scheduled": Look("queue", "clock-play", "Scheduled"),
    "queued": Look("queue", "hourglass", "Queued"),
    "running": Look("run", "loader-2", "Running"),
    "retrying": Look("retry", "refresh", "Retrying"),
    "succeeded": Look("ok", "circle-check", "Succeeded"),
    "failed": Look("fail", "circle-x", "Failed"),
    "timed_out": Look("fail", "circle-x", "Timed out"),
    "crashed": Look("fail", "circle-x", "Crashed"),
    "cancelled": Look("cancel", "ban", "Cancelled"),
    "interrupted": Look("cancel", "ban", "Interrupted"),
    "skipped": Look("skip", "player-skip-forward", "Skipped"),
    "healthy": Look("ok", "circle-check", "Healthy"),
    "failing": Look("fail", "circle-x", "Failing"),
    "stale": Look("stale", "heart-rate-monitor", "Stale"),
    "lost": Look("stale", "heart-rate-monitor", "Lost"),
    "late": Look("retry", "clock-hour-4", "Late"),
    "slow": Look("retry", "clock-hour-4", "Slow"),
    "paused": Look("queue", "player-pause", "Paused"),
    "disabled": Look("skip", "player-pause", "Disabled"),
    "unknown": Look("queue", "circle-dashed", "Unknown"),
    "fired": Look("ok", "circle-check", "Fired"),
    "coalesced": Look("retry", "stack-2", "Coalesced"),
    "open": Look("fail", "bell", "Open"),
    "acknowledged": Look("run", "eye", "Acknowledged"),
    "snoozed": Look("queue", "clock", "Snoozed"),
    "resolved": Look("ok", "circle-check", "Resolved"),
    "critical": Look("fail", "flame", "Critical"),
    "warning": Look("retry", "alert-triangle", "Warning"),
    "info": Look("queue", "info-circle", "Info"),
    "pending": Look("queue", "hourglass", "Pending"),
    "delivered": Look("ok", "circle-check", "Delivered"),
    "suppressed": Look("skip", "hand-stop", "Suppressed"),
    "dead": Look("fail", "circle-x", "Given up"),
    "closed": Look("ok", "circle-check", "Closed"),
    "half_open": Look("retry", "refresh", "Probing"),
    "canary": Look("run", "loader-2", "Canary"),
    "finished": Look("ok", "circle-check", "Finished"),
    "stopped": Look("fail", "hand-stop", "Stopped: the same error"),
    "missed": Look("stale", "alert-triangle", "Missed"),
}


def looks(state: str) -> Look:
    """Return how a state looks; one that is not known looks neutral, under its own name."""
    return LOOKS.get(state) or Look("queue", "circle-dashed", state.replace("_", " ").capitalize())
