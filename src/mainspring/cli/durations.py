"""Durations on the command line, written as settings are: seconds, or `500ms`, `30s`, `5m`, `1h`, `7d`."""

from __future__ import annotations

from datetime import timedelta

import typer


def read(text: str) -> timedelta:
    """Return a duration that was given as an option.

    Raises:
        typer.BadParameter: It is none.
    """
    from mainspring.settings import read_duration

    try:
        duration = read_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not isinstance(duration, timedelta):
        raise typer.BadParameter(f"{text!r} is not a duration")
    return duration
