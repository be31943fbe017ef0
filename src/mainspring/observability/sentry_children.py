"""Sentry over two processes: what a node tells the child of an attempt, and what the child makes of a failure there.

The node alone tells of the failure, once its end is written; what the handler tells Sentry by itself, the child sends.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, cast

from mainspring.observability.sentry import open_sentry

if TYPE_CHECKING:
    from collections.abc import Generator

    from mainspring.observability.run_identity import RunIdentity
    from mainspring.observability.sentry import Sentry
    from mainspring.settings import Settings

_CARRIED: Final = ("exception", "tags", "contexts", "user", "extra", "breadcrumbs")
_SAID_TO_THE_NODE: Final = frozenset({"job.log", "job.step"})
_logger = logging.getLogger(__name__)


def facts_of_attempt() -> dict[str, Any] | None:
    """Return what Sentry is told of the attempt that the caller carries out; None: nobody is told of it."""
    if "sentry_sdk" not in sys.modules:
        return None
    import sentry_sdk

    said = sentry_sdk.get_isolation_scope().apply_to_event({}, {}) or {}
    return cast("dict[str, Any]", said.get("contexts", {})).get("job")


def sentry_in_child(settings: Settings | None) -> Sentry | None:
    """Return the way to Sentry in a child process whose node tells it of the attempt; None: there is none from here.

    Args:
        settings: Of the application; None: it has none, and may have set up Sentry by itself.
    """
    try:
        return open_sentry(settings)
    except Exception:  # the node could: the failure is told all the same
        _logger.warning("the child process of this attempt has no way to Sentry", exc_info=True)
        return None


@contextmanager
def attempt_in_program(run: RunIdentity) -> Generator[None]:
    """Let what a program's own client tells Sentry in the block name the attempt that the program carries out.

    The failure itself is told by the scheduler that has asked for it.
    """
    sentry = open_sentry(None)
    with sentry.attempt(run, {}, organization=None) if sentry is not None else nullcontext():
        yield


def event_of_child(error: BaseException) -> dict[str, Any] | None:
    """Return what Sentry is to be told of a failure: the exception, and what the handler has set on its scope.

    Its log lines and steps are left out, for the node has them. None: nobody is told of this attempt.

    Args:
        error: What the handler raised.
    """
    if facts_of_attempt() is None:
        return None
    import sentry_sdk
    from sentry_sdk.utils import event_from_exception

    try:
        event, hint = event_from_exception(error, client_options=sentry_sdk.get_client().options)
        said: dict[str, Any] = dict(sentry_sdk.get_isolation_scope().apply_to_event(event, hint) or {})
    except Exception:  # a hook of the host: the node tells what it knows
        _logger.warning("the failure could not be made an event for Sentry", exc_info=True)
        return None
    crumbs: list[dict[str, Any]] = said.get("breadcrumbs", {}).get("values", [])
    said["breadcrumbs"] = {"values": [crumb for crumb in crumbs if crumb.get("category") not in _SAID_TO_THE_NODE]}
    return {part: said[part] for part in _CARRIED if part in said}
