"""The body of a request: read with care up to its greatest size and depth, checked, and described for OpenAPI."""

from __future__ import annotations

import codecs
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar, cast

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from mainspring.api.callers import CurrentActor
from mainspring.api.faults import faults_in
from mainspring.api.problems import BodyTooLargeError, Fault, InvalidRequestError, MalformedBodyError
from mainspring.domain.access import Actor

Body = TypeVar("Body", bound=BaseModel)

MAX_BODY_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 64
_COMPRESSED: Final = b"\x1f\x8b"
"""How gzip begins."""


def json_body(model: type[Body], *, required: bool = True) -> Callable[[Request, Actor], Awaitable[Body]]:
    """Return a dependency that reads the body as JSON, whatever its Content-Type, and checks it.

    It asks for the actor first, so that nobody unknown makes us read anything.

    Args:
        model: What the body must be.
        required: Whether there must be one; an empty body stands for an empty object where it need not be.
    """

    async def read(request: Request, _actor: CurrentActor) -> Body:
        return await read_body(request, model, required=required)

    return read


async def read_body(request: Request, model: type[Body], *, required: bool = True) -> Body:
    """Return the body of a request of somebody who is known.

    Args:
        request: Whose body is read as JSON, whatever its Content-Type.
        model: What it must be.
        required: Whether there must be one; an empty body stands for an empty object where it need not be.

    Raises:
        InvalidRequestError: It is readable, and wrong.
        MalformedBodyError: It is not JSON.
        BodyTooLargeError: It is larger than this server reads.
    """
    sent = await _capped(request)
    value: object = _parsed(sent) if sent or required else dict[str, object]()
    try:
        return model.model_validate(value)
    except ValidationError as error:
        known = [field.alias or name for name, field in model.model_fields.items()]
        raise InvalidRequestError(faults_in(error.errors(include_url=False), known)) from error


async def payload_body(request: Request, _actor: CurrentActor) -> object:
    """Return the body, whatever JSON it is; None: there is none."""
    sent = await _capped(request)
    return _parsed(sent) if sent else None


def body_schema(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body that `json_body` reads."""
    schema = model.model_json_schema()
    whole = _inlined(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": whole}}}}


def _inlined(schema: object, definitions: Mapping[str, object]) -> object:
    """Return a schema with its parts in their places: a reference would be looked up in the whole document."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast("dict[str, object]", schema)
    if isinstance(reference := fields.get("$ref"), str):
        return _inlined(definitions[reference.rpartition("/")[2]], definitions)
    return {name: _inlined(value, definitions) for name, value in fields.items()}


async def _capped(request: Request) -> bytes:
    too_large = BodyTooLargeError(
        f"the body is larger than {MAX_BODY_BYTES:,} bytes: store the data and send a reference"
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise too_large
    return bytes(body)


def _parsed(body: bytes) -> object:
    try:
        value: object = orjson.loads(body)
    except json.JSONDecodeError as error:
        if "depth limit" in error.msg:
            raise _too_deep() from error
        raise MalformedBodyError(
            f"the body is not JSON: {_why_unreadable(body, error)}. Send one object such as "
            '{"name": "value"}, with names and texts in double quotes'
        ) from error
    if not _is_shallow(value):
        raise _too_deep()
    return value


def _why_unreadable(body: bytes, error: json.JSONDecodeError) -> str:
    if body.startswith(_COMPRESSED):
        return "it is compressed, and is read as it comes, whatever `Content-Encoding` says"
    if body.startswith(codecs.BOM_UTF8):
        return "it begins with a byte order mark, which JSON has not"
    try:
        body.decode()
    except UnicodeDecodeError:
        return "it is not in UTF-8"
    return f"{error.msg} (line {error.lineno} column {error.colno})"


def _too_deep() -> InvalidRequestError:
    return InvalidRequestError([Fault("body", f"it is nested more than {MAX_DEPTH} levels deep")])


def _is_shallow(value: object) -> bool:
    """Whether arrays and objects nest no deeper than is taken; level by level, so that depth costs no stack."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [item for holder in level for item in _items(holder)]
        if not level:
            return True
    return False


def _items(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).values())
    return cast("list[object]", value) if isinstance(value, list) else []
