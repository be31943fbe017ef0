"""What a process tells other systems of itself: begun once, as its settings say, and handed over before it ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from opentelemetry import trace

from mainspring.observability.sentry import Sentry, flush_sentry, open_sentry
from mainspring.observability.trace_export import flush_traces, set_up_trace_export
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from mainspring.settings import Settings
    from mainspring.world import World


def begin_telemetry(settings: Settings) -> Sentry | None:
    """Set up the export of spans, and return the way to Sentry, where there is one.

    Raises:
        ConfigurationError: `MAINSPRING_SENTRY_DSN` is set, and is none, or its package is not installed.
    """
    set_up_trace_export(node=settings.node)
    return open_sentry(settings)


async def hand_over_telemetry(world: World) -> None:
    """Let the last spans and events go out, for a few seconds at most; where there are none, this costs nothing."""
    if world.simulated:  # it has no threads, and tells nobody
        return
    if "sentry_sdk" not in sys.modules and not hasattr(trace.get_tracer_provider(), "force_flush"):
        return
    pool = world.thread_pool(1, name="mainspring-telemetry")

    def hand_over() -> None:
        flush_traces(world)
        flush_sentry()

    await run_in_thread(pool, hand_over)
    pool.shutdown(wait=False)
