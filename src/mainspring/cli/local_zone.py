"""The time zone of this machine, by which its cron goes: apart, because `exec` reads no crontab."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_LOCAL_TIME: Final = Path("/etc/localtime")


def zone_of_this_machine() -> str:
    """Return the name of the zone; UTC where the machine does not say."""
    _, found, name = str(_LOCAL_TIME.resolve()).partition("/zoneinfo/")
    return name if found else "UTC"
