"""Instants on the command line: in so long from now, or by this machine's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import typer


def read(text: str) -> datetime:
    """Return an instant that was given as an option.

    Raises:
        typer.BadParameter: It is none.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        from mainspring.settings import read_duration
        from mainspring.world import RealWorld

        try:
            duration: Any = read_duration(text)
        except ValueError as error:
            raise typer.BadParameter(
                f"{text!r} is no time: write 2027-03-01T08:00, or how long from now, such as 2h"
            ) from error
        return RealWorld().now() + (duration if isinstance(duration, timedelta) else timedelta(seconds=duration))
    return instant.astimezone(UTC)
