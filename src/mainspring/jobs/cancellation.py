"""Telling a handler that was told to stop from one that only ends as if it had been."""

from __future__ import annotations

import asyncio

from mainspring.errors import StrayCancellationError


def raise_if_stray(error: asyncio.CancelledError, told_to_stop: str | None, job_name: str) -> None:
    """Make a failure of a cancellation that nobody asked for: the handler awaited a task that had been cancelled.

    Such a one would else pass for the end of the whole program, and the attempt would have none.

    Args:
        error: What came out of the handler, in the task that carries it out.
        told_to_stop: Why the attempt was told to stop; None: it was not.
        job_name: Whose handler it is.

    Raises:
        StrayCancellationError: Neither the attempt nor its task was told to stop.
    """
    task = asyncio.current_task()
    if told_to_stop is None and (task is None or not task.cancelling()):
        raise StrayCancellationError(
            f"job {job_name!r} ended with CancelledError, and nobody had told it to stop: something that it awaits was "
            "cancelled. Let its handler catch that where it awaits it, and raise what it means"
        ) from error
