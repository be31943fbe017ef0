"""Query parameters that do not exist are refused: a filter that was misspelled must not return everything."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any, Final

from fastapi import Depends, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.alias_generators import to_camel

from mainspring.api.callers import CurrentActor
from mainspring.api.faults import Fault
from mainspring.api.problems import InvalidRequestError

_of_route: Final[dict[tuple[str, str], frozenset[str]]] = {}
"""The parameters of each address and method that was asked with any."""


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
    known = _documented_parameters(request.scope["route"], request.method.lower())
    faults = [Fault(name, _what_is_right(name, known)) for name in request.query_params if name not in known]
    if faults:
        raise InvalidRequestError(faults)


only_known_parameters = Depends(_of_somebody_known)
"""What a router is given that takes no others: `APIRouter(prefix=…, dependencies=[only_known_parameters])`."""


def _documented_parameters(route: APIRoute, method: str) -> frozenset[str]:
    """Return the names of the query parameters that `/openapi.json` gives for a route.

    FastAPI is asked for this route alone: the whole document is a second of work, for which the event loop, and every
    job on it, would stand still at the first request with a parameter.
    """
    address = route.path_format, method
    if address not in _of_route:
        [operations] = get_openapi(title="", version="", routes=[route])["paths"].values()
        parameters: list[dict[str, Any]] = operations[method].get("parameters", [])
        _of_route[address] = frozenset(found["name"] for found in parameters if found["in"] == "query")
    return _of_route[address]


def _what_is_right(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(to_camel(name), known, n=1)
    if near:
        return f"there is no such parameter; did you mean `{near[0]}`?"
    if known:
        return f"there is no such parameter; there are {', '.join(f'`{other}`' for other in sorted(known))}"
    return "there is no such parameter: this address takes none"
