"""What is wrong with a request, in words that say what is right: pydantic's findings, told to the sender."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic.alias_generators import to_camel

_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request.

    Attributes:
        path: Where, for instance `dependsOn.0`.
        message: What, and what is right.
    """

    path: str
    message: str


_OBJECT: Final = 'it must be an object, for instance {"name": "value"}'
_SAID: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "missing": lambda _: "it is required",
    "model_type": lambda _: _OBJECT,
    "dict_type": lambda _: _OBJECT,
    "list_type": lambda _: 'it must be a list, for instance ["value"]',
    "string_type": lambda _: "it must be text, in double quotes",
    "int_type": lambda _: "it must be a whole number, without quotes",
    "int_parsing": lambda _: "it must be a whole number",
    "bool_type": lambda _: "it must be true or false, without quotes",
    "uuid_parsing": lambda _: "it must be an id such as 0192f0c4-7d3a-7c11-9d52-1f6f3b1c2a77",
    "uuid_type": lambda _: "it must be an id such as 0192f0c4-7d3a-7c11-9d52-1f6f3b1c2a77, as text",
    "timezone_aware": lambda _: "it must say its zone: write it like 2024-01-30T10:30:00Z",
    "greater_than_equal": lambda limits: f"it must be at least {limits['ge']}",
    "less_than_equal": lambda limits: f"it must be at most {limits['le']}",
    "string_too_short": lambda limits: f"it must have at least {limits['min_length']} characters",
    "string_too_long": lambda limits: f"it must have at most {limits['max_length']} characters",
    "too_long": lambda limits: f"it must have at most {limits['max_length']} entries",
    "string_pattern_mismatch": lambda limits: f"it must match {limits['pattern']}",
    "literal_error": lambda limits: f"it must be {limits['expected']}",
}


def faults_in(problems: Sequence[Mapping[str, Any]], fields: Collection[str] = ()) -> list[Fault]:
    """Return what pydantic has found, the first 20 of it, in our words.

    Args:
        problems: Its errors, with what was sent and with their context.
        fields: The names of the fields that there are, of which the nearest is told for one that is not.

    Example:
        >>> faults_in([{"type": "extra_forbidden", "loc": ("job_type",), "msg": "", "input": 1}], ["jobType"])
        [Fault(path='job_type', message='there is no such field; did you mean `jobType`?')]
    """
    return [
        Fault(".".join(str(part) for part in problem["loc"]) or "body", _message(problem, fields))
        for problem in problems[:_MOST]
    ]


def _message(problem: Mapping[str, Any], fields: Collection[str]) -> str:
    kind = problem["type"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(to_camel(str(problem["loc"][-1])), fields, n=1)
        return "there is no such field" + (f"; did you mean `{near[0]}`?" if near else "")
    if kind == "model_type" and not problem["loc"] and isinstance(problem["input"], str):
        return f"{_OBJECT}; it is a text that holds JSON, as if it had been encoded twice"
    if kind in _SAID:
        return _SAID[kind](problem.get("ctx", {}))
    return str(problem["msg"]).removeprefix("Value error, ")
