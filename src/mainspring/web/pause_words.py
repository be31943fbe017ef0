"""What every page says while all schedules are paused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.web.clock import relative
from mainspring.web.words_schedules import PAUSE

if TYPE_CHECKING:
    from datetime import datetime

    from mainspring.store.scheduling.pauses import PauseOfAll


def pause_words(pause: PauseOfAll, now: datetime) -> str:
    """Return since when and by whom everything is paused, until when, and why."""
    parts = [PAUSE.banner.format(since=relative(pause.starts_at, now), by=pause.by)]
    if pause.ends_at is not None:
        parts.append(PAUSE.banner_until.format(until=relative(pause.ends_at, now)))
    return " ".join([*parts, pause.reason] if pause.reason else parts)
