"""The one door through which text and values of users and jobs reach the store: made safe, redacted, capped.

A finished job must not fail for its text, so nothing here raises for what a value holds: NUL bytes, lone surrogates,
NaN, objects that are not JSON, and results of any size all come out as JSON text that both databases take. Secrets are
taken out, save from what is to come back to its owner as it was given: payloads, checkpoints, keys (`verbatim_…`).
"""

from __future__ import annotations

import dataclasses
import math
import sys
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, cast
from uuid import UUID

import orjson

from mainspring.domain.failure import head_and_tail
from mainspring.domain.redaction import redact_json, redact_text
from mainspring.errors import PayloadTooLargeError

MAX_VALUE_BYTES: Final = 256_000
MAX_LOG_CHARACTERS: Final = 8_000
_MAX_DEPTH: Final = 100
_MAX_REPR: Final = 2_000
_LARGEST_INTEGER: Final = 2**63 - 1
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def clean_text(text: str, limit: int) -> str:
    """Return `text` without secrets, NUL and lone surrogates, its head and tail within `limit` characters."""
    return head_and_tail(redact_text(verbatim_text(text, sys.maxsize)), limit)


def verbatim_text(text: str, limit: int) -> str:
    """Return `text` without NUL and lone surrogates, its head and tail within `limit` characters; else as it was."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    if "\x00" in text:
        text = text.replace("\x00", _REPLACEMENT)
    return head_and_tail(text, limit)


def to_jsonable(value: object, depth: int = 0) -> Any:  # noqa: ANN401, C901, PLR0911 - JSON is whatever the job returned
    """Return `value` in terms of JSON; what JSON cannot say becomes its `repr`, in at most 2,000 characters."""
    if depth > _MAX_DEPTH:
        return f"<more than {_MAX_DEPTH} levels deep>"
    match value:
        case None | bool():
            return value
        case str():
            return verbatim_text(str(value), MAX_VALUE_BYTES)
        case int():
            return int(value) if abs(value) <= _LARGEST_INTEGER else str(int(value))
        case float():
            return value if math.isfinite(value) else None
        case Enum():
            return to_jsonable(value.value, depth + 1)
        case date():
            return value.isoformat()
        case UUID() | Decimal():
            return str(value)
        case timedelta():
            return value.total_seconds()
        case dict():
            pairs = cast("dict[object, object]", value).items()
            return {verbatim_text(str(key), _MAX_REPR): to_jsonable(item, depth + 1) for key, item in pairs}
        case list() | tuple() | set() | frozenset():
            return [to_jsonable(item, depth + 1) for item in cast("list[object]", value)]
        case _:
            return _object_to_jsonable(value, depth)


def _object_to_jsonable(value: object, depth: int) -> Any:  # noqa: ANN401 - as to_jsonable
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        # A model may refuse to be dumped; its repr is kept then, as of any other object.
        with suppress(Exception):
            return to_jsonable(dump(mode="json", by_alias=True), depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_jsonable(getattr(value, item.name), depth + 1) for item in dataclasses.fields(value)}
    return {"unserialisable": type(value).__name__, "repr": verbatim_text(_safe_repr(value), _MAX_REPR)}


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as trouble:  # noqa: BLE001 - a user's __repr__ may raise anything
        return f"<repr raised {type(trouble).__name__}>"


def json_text(value: object) -> str:
    """Return `value` without secrets, as JSON text that both databases take, whatever it holds and however large."""
    return redact_json(verbatim_json(value))


def verbatim_json(value: object) -> str:
    """Return `value` as JSON text that both databases take, with all that it holds."""
    try:
        text = orjson.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = orjson.dumps(to_jsonable(value))
    if b"\\u0000" in text:
        text = orjson.dumps(to_jsonable(value))
    return text.decode()


def result_text(value: object) -> str | None:
    """Return a job's result as JSON text within 256 kB; a larger one is replaced by a note with its beginning."""
    if value is None:
        return None
    text = json_text(value)
    size = len(text.encode())
    if size <= MAX_VALUE_BYTES:
        return text
    return json_text({"truncated": True, "bytes": size, "head": text[:_MAX_REPR]})


def payload_text(value: object, job_name: str) -> str:
    """Return a payload as JSON text, with its secrets: the handler needs them, and the cipher hides them in the store.

    Raises:
        PayloadTooLargeError: It is larger than 256 kB.
    """
    text = verbatim_json(value)
    size = len(text) if text.isascii() else len(text.encode())
    if size > MAX_VALUE_BYTES:
        msg = (
            f"the payload for job {job_name!r} has {size:,} bytes as JSON, and at most {MAX_VALUE_BYTES:,} are taken: "
            "store the data elsewhere and pass a reference to it"
        )
        raise PayloadTooLargeError(msg)
    return text
