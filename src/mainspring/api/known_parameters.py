"""Query parameters that do not exist are refused: a filter that was misspelled must not return everything."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from fastapi import Depends, Request
from pydantic.alias_generators import to_camel

from mainspring.api.deps import CurrentActor
from mainspring.api.faults import Fault
from mainspring.api.problems import InvalidRequestError


async def _of_somebody_known(request: Request, _actor: CurrentActor) -> None:
    """Refuse unknown parameters; strangers are told by `_actor` that they are strangers."""
    refuse_unknown_parameters(request)


def refuse_unknown_parameters(request: Request) -> None:
    """Refuse a parameter that `/openapi.json` does not know.

    Raises:
        InvalidRequestError: There is one, or several.
    """
    if not request.query_params:
        return
    known = _documented_parameters(request)
    faults = [Fault(name, _what_is_right(name, known)) for name in request.query_params if name not in known]
    if faults:
        raise InvalidRequestError(faults)


only_known_parameters = Depends(_of_somebody_known)
"""What a router is given that takes no others: `APIRouter(prefix=…, dependencies=[only_known_parameters])`."""


def _documented_parameters(request: Request) -> set[str]:
    operations: dict[str, Any] = request.app.openapi()["paths"][request.scope["route"].path_format]
    parameters: list[dict[str, Any]] = operations[request.method.lower()].get("parameters", [])
    return {parameter["name"] for parameter in parameters if parameter["in"] == "query"}


def _what_is_right(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(to_camel(name), known, n=1)
    if near:
        return f"there is no such parameter; did you mean `{near[0]}`?"
    if known:
        return f"there is no such parameter; there are {', '.join(f'`{other}`' for other in sorted(known))}"
    return "there is no such parameter: this address takes none"
