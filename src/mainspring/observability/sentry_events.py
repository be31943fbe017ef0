"""What Sentry is told of a failure: an event in the form of its protocol, without anything that must not be shown.

https://develop.sentry.dev/sdk/data-model/event-payloads/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.redaction import redact
from mainspring.domain.write_door import clean_text, to_jsonable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.domain.failure import Failure
    from mainspring.observability.run_identity import RunIdentity

_MECHANISM: Final = {"type": "mainspring", "handled": False}
_FRAME: Final = re.compile(r'  File "(?P<path>[^"]+)", line (?P<line>\d+), in (?P<function>.+)')
_LEVELS: Final = {"debug": "debug", "info": "info", "warning": "warning", "error": "error"}
_MAX_MESSAGE: Final = 2_000
_MAX_TAG: Final = 200  # https://develop.sentry.dev/sdk/foundations/state-management/scopes/attributes/


def failure_event(
    run: RunIdentity, failure: Failure, told: Mapping[str, Any] | None, traceparent: str | None
) -> dict[str, Any]:
    """Return the event of an execution that has failed.

    Events are grouped by job and by the fingerprint that the history keeps too: type, place and the shape of the
    message, so that ids and numbers in it make no new issue.

    Args:
        run: Whose failure it is.
        failure: What went wrong.
        told: What the SDK has made of the exception, and of what the handler has told it, where it was raised; None:
            that was in another program, and the text of the exception is all there is.
        traceparent: The span of the attempt, which takes the place of one that Sentry would make up.
    """
    told = told or {}
    raised: dict[str, list[dict[str, Any]]] = told.get("exception", {})
    values = raised.get("values") or [_exception_of_text(failure)]
    for value in values:
        value["mechanism"] = {**value.get("mechanism", {}), **_MECHANISM}
    event: dict[str, Any] = {
        **told,
        "level": "error",
        "logger": "mainspring.jobs",
        "transaction": run.job,
        "fingerprint": [run.job, failure.fingerprint],
        "tags": {
            **told.get("tags", {}),
            **tags(names(run) | {"error.code": failure.code, "error.class": failure.error_class.value}),
        },
        "exception": {"values": values},
    }
    if traceparent is not None:
        _, trace_id, span_id, _ = traceparent.split("-")
        event["contexts"] = {
            **told.get("contexts", {}),
            "trace": {"trace_id": trace_id, "span_id": span_id, "op": "job"},
        }
    return redact(to_jsonable(event))


def names(run: RunIdentity) -> dict[str, object]:
    """Return what a run is searched by."""
    facts: dict[str, object] = {"job": run.job, "execution": run.execution, "attempt": run.attempt}
    return facts | {"trigger": run.trigger, "node": run.node, "service": run.service}


def tags(facts: Mapping[str, object]) -> dict[str, str]:
    """Return what is searched by: texts of at most 200 characters on one line; what is None is left out."""
    return {
        name: clean_text(str(fact), _MAX_TAG).replace("\n", " ") for name, fact in facts.items() if fact is not None
    }


def breadcrumb(category: str, message: str, *, level: str = "info", data: Mapping[str, object]) -> dict[str, Any]:
    """Return one thing that happened before a failure."""
    return {
        "category": category,
        "message": clean_text(message, _MAX_MESSAGE),
        "level": _LEVELS.get(level, "info"),
        "data": redact(to_jsonable(dict(data))),
    }


def _exception_of_text(failure: Failure) -> dict[str, Any]:
    frames = [
        {
            "filename": match["path"].rsplit("/", 1)[-1],
            "abs_path": match["path"],
            "lineno": int(match["line"]),
            "function": match["function"],
        }
        for match in _FRAME.finditer(failure.trace)
    ]
    exception: dict[str, Any] = {"type": failure.type, "value": clean_text(failure.message, _MAX_MESSAGE)}
    return exception | ({"stacktrace": {"frames": frames}} if frames else {})
