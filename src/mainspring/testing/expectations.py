"""What a test expects to have been asked for, and what it is told where something else was."""

from __future__ import annotations

import difflib
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from mainspring.control.handles import JobHandle
from mainspring.domain.access import Scope
from mainspring.domain.execution import Execution
from mainspring.domain.write_door import payload_text
from mainspring.errors import MainspringError
from mainspring.store.runs import executions
from mainspring.testing.inline import finish_at_once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mainspring.app import Mainspring

ANYTHING: Final = object()
"""The payload of an expectation that does not care for it."""
_MOST_EXECUTIONS: Final = 100_000
_MOST_SHOWN: Final = 20
_MOST_CHARACTERS: Final = 200
_FACTS: Final = frozenset(field.name for field in fields(Execution)) - {"payload", "job_name"}


def assert_enqueued(
    app: Mainspring,
    job: str | JobHandle[Any, Any],
    payload: object = ANYTHING,
    *,
    times: int | None = None,
    **facts: object,
) -> list[Execution]:
    """Fail the test unless executions of a job were asked for.

    Args:
        app: The application, inside `testing.kit(app)`.
        job: The job, by its name or handle.
        payload: What they are to work on, of the handler's type or as JSON; by default anything.
        times: How many there must be, exactly; 0: none. By default at least one.
        **facts: What else they must be, by names of `Execution`: `priority=5`, `queue="mail"`.

    Returns:
        Those that match, in the order in which they were asked for, ended or not.

    Raises:
        AssertionError: There are none, or not that many; the message shows what was asked for.
        TypeError: An execution has no fact of that name.

    Example:
        >>> assert_enqueued(app, "send-receipt", {"item": "lamp"}, times=1)  # doctest: +SKIP
    """
    _refuse_unknown(facts)
    name = name_of(job)
    asked = asked_for(app)
    wanted = dict(facts) if payload is ANYTHING else {"payload": as_stored(payload, name), **facts}
    matching = [execution for execution in asked if execution.job_name == name and not _misses(execution, wanted)]
    if len(matching) == times or (times is None and matching):
        return matching
    expected = "at least once" if times is None else _times(times)
    raise AssertionError(
        f"job {name!r}{_told(wanted)} was to be asked for {expected}, and was {_times(len(matching))}.\n"
        + _what_was(asked, name, wanted)
    )


def asked_for(app: Mainspring) -> list[Execution]:
    """Return every execution that was asked for, ended or not, in their order, with its payload in clear."""
    if not app.world.simulated:
        raise MainspringError(
            "the application is not under test, so that what is asked of it runs by itself: enter "
            "`async with testing.kit(app):` around what asks, instead of `app.running()`"
        )
    scope, wanted, database = Scope(app.settings.environment), executions.Filter(), app.opened.database
    found = finish_at_once(
        database.read(lambda connection: executions.find(connection, scope, wanted, most=_MOST_EXECUTIONS))
    )
    return [in_clear(app, execution) for execution in reversed(found)]


def in_clear(app: Mainspring, execution: Execution) -> Execution:
    """Return an execution with the secrets of its payload decrypted, as its handler sees them."""
    return replace(execution, payload=app.cipher.decrypt(execution.payload, execution.job_name).value)


def name_of(job: str | JobHandle[Any, Any]) -> str:
    """Return the name of a job that is given by its name or its handle."""
    return job.name if isinstance(job, JobHandle) else job


def as_stored(payload: object, job_name: str) -> object:
    """Return a payload as the store keeps it."""
    return None if payload is None else orjson.loads(payload_text(payload, job_name))


def _refuse_unknown(facts: Mapping[str, object]) -> None:
    for fact in facts:
        if fact not in _FACTS:
            near = difflib.get_close_matches(fact, _FACTS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f": it has {', '.join(sorted(_FACTS))}"
            raise TypeError(f"an execution has no {fact!r}{hint}")


def _misses(execution: Execution, wanted: Mapping[str, object]) -> list[str]:
    """Return what keeps an execution from being the one that is wanted, in words."""
    misses: list[str] = []
    for fact, value in wanted.items():
        found = getattr(execution, fact)
        if found == value:
            continue
        if isinstance(found, dict) and isinstance(value, dict):
            misses += _differing_keys(cast("dict[str, object]", found), cast("dict[str, object]", value))
        else:
            misses.append(f"{fact} is {_shown(cast('object', found))}")
    return misses


def _differing_keys(found: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    told = [f"{key!r} is missing" for key in wanted if key not in found]
    told += [f"{key!r} is there too" for key in found if key not in wanted]
    return told + [
        f"{key!r} is {_shown(found[key])}, not {_shown(value)}"
        for key, value in wanted.items()
        if key in found and found[key] != value
    ]


def _times(number: int) -> str:
    return {0: "never", 1: "once"}.get(number, f"{number} times")


def _told(wanted: Mapping[str, object]) -> str:
    return f" with {', '.join(f'{fact} {_shown(value)}' for fact, value in wanted.items())}" if wanted else ""


def _what_was(asked: Sequence[Execution], name: str, wanted: Mapping[str, object]) -> str:
    if not asked:
        return "Nothing was asked for at all."
    lines = [_line(execution, name, wanted) for execution in asked[:_MOST_SHOWN]]
    left_out = len(asked) - len(lines)
    more = [f"  and {left_out} more"] if left_out else []
    return "\n".join(["These were asked for, the oldest first:", *lines, *more])


def _line(execution: Execution, name: str, wanted: Mapping[str, object]) -> str:
    line = f"  {execution.job_name}  {_shown(execution.payload)}  {execution.status}"
    if execution.job_name != name:
        return line
    return f"{line}  <- {'; '.join(_misses(execution, wanted)) or 'matches'}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
