"""A form for the payload of a job, made from the type that its handler declares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
from pydantic import TypeAdapter, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mainspring.jobs.registry import RegisteredJob

PREFIX: Final = "payload."
_SIMPLE: Final = frozenset({"string", "integer", "number", "boolean"})


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of a payload.

    Attributes:
        name: In the payload.
        label: For people.
        kind: `string`, `integer`, `number`, `boolean`, or `json` for what has parts.
        choices: What it may be; empty: anything of its kind.
        is_required: Whether the payload needs it.
        hint: What its author says of it.
        value: What stands in it.
        problem: What is wrong with that; empty: nothing.
    """

    name: str
    label: str
    kind: str
    choices: Sequence[str]
    is_required: bool
    hint: str
    value: str = ""
    problem: str = ""


def fields_of(job: RegisteredJob, payload: Mapping[str, Any]) -> list[FormField]:
    """Return the fields of a job's payload, filled in; none where it takes any JSON.

    Args:
        job: The job.
        payload: What stands in them.
    """
    if job.handler.payload_type is None:
        return []
    schema = TypeAdapter[Any](job.handler.payload_type).json_schema()
    definitions, required = schema.get("$defs", {}), schema.get("required", ())
    return [
        _field(name, _resolved(said, definitions), is_required=name in required, payload=payload)
        for name, said in schema.get("properties", {}).items()
    ]


def payload_from(fields: Sequence[FormField], form: Mapping[str, str]) -> dict[str, Any]:
    """Return what was filled in as a payload; what was left empty is left out.

    Raises:
        ValueError: A field that takes JSON holds none.
    """
    filled = [(each, form.get(f"{PREFIX}{each.name}", "")) for each in fields]
    return {each.name: _value(each, text) for each, text in filled if text.strip()}


def with_problems(job: RegisteredJob, fields: Sequence[FormField], payload: Mapping[str, Any]) -> list[FormField]:
    """Return the fields with what is wrong with each of them."""
    problems: dict[str, str] = {}
    try:
        TypeAdapter[Any](job.handler.payload_type).validate_python(payload)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            problems.setdefault(str(problem["loc"][0]) if problem["loc"] else "", problem["msg"])
    return [replace(each, problem=problems.get(each.name, "")) for each in fields]


def _field(name: str, said: Mapping[str, Any], *, is_required: bool, payload: Mapping[str, Any]) -> FormField:
    kind = str(said.get("type"))
    kind = kind if kind in _SIMPLE else "json" if "enum" not in said else "string"
    value = payload.get(name, said.get("default"))
    return FormField(
        name=name,
        label=str(said.get("title") or name),
        kind=kind,
        choices=[_text(each) for each in said.get("enum", ())],
        is_required=is_required,
        hint=str(said.get("description") or ""),
        value="" if value is None else _text(value),
    )


def _resolved(said: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a part of a schema where it names another one, or where it may be null."""
    if "$ref" in said:
        return {**definitions.get(str(said["$ref"]).rsplit("/", 1)[-1], {}), **said}
    options = [each for each in cast("list[Mapping[str, Any]]", said.get("anyOf", [])) if each.get("type") != "null"]
    return {**_resolved(options[0], definitions), **said} if len(options) == 1 else said


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _value(field: FormField, text: str) -> Any:  # noqa: ANN401 - JSON
    if field.kind == "string":
        return text
    if field.kind == "json":
        return orjson.loads(text)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text  # the payload's type says what is wrong with it
