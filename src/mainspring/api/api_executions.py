"""`/api/executions/{id}`: what services tell of the attempts that they carry out, by the token of the attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel

from mainspring.api.api_executions_bodies import Heard, Heartbeat, Progress, Result
from mainspring.api.callers import Credentials, count_stranger
from mainspring.api.known_parameters import refuse_unknown_parameters
from mainspring.api.problems import documented_alone
from mainspring.api.rate_limit import TooManyRequestsError
from mainspring.api.request_body import body_schema, read_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.control.callbacks import TokenHolder
from mainspring.domain.access import Actor, ActorKind
from mainspring.errors import DatabaseUnreachableError, LeaseLostError, NotRunningError, SchemaMismatchError
from mainspring.remote.protocol import CallbackAnswer
from mainspring.security.authentication import AuthenticationError
from mainspring.security.callback_tokens import fence_of

ExecutionId = Annotated[str, Path(description="The `executionId` of the call.", json_schema_extra={"format": "uuid"})]
Sent = TypeVar("Sent", bound=BaseModel)

router = APIRouter(prefix="/api/executions/{execution_id}", tags=["Scheduler"])

_HOW_TO_AUTHENTICATE: Final = (
    "this is no token of this execution: send the `callback.token` that came with its call, as a bearer token"
)
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": Heard},
    **documented_alone(
        400, 413, 422, AuthenticationError, LeaseLostError, TooManyRequestsError, DatabaseUnreachableError,
        NotRunningError, SchemaMismatchError,
    ),
}  # fmt: skip


async def holder_of(
    request: Request, services: CurrentServices, credentials: Credentials, execution_id: ExecutionId
) -> TokenHolder:
    """Return whose token was sent; an id that is wrong and a token that is wrong are answered alike.

    Raises:
        AuthenticationError: It is no token of this execution.
        TooManyRequestsError: It is used more often than is taken.
    """
    try:
        wanted, token = UUID(execution_id), credentials.credentials if credentials is not None else ""
        holder = TokenHolder(wanted, fence_of(services.secret_keys, wanted, token))
    except (ValueError, AuthenticationError):
        count_stranger(request, services)
        raise AuthenticationError(_HOW_TO_AUTHENTICATE) from None
    services.rate_limits.admit(Actor(f"execution {wanted}", ActorKind.SERVICE, services.app.settings.environment))
    refuse_unknown_parameters(request)
    return holder


Holder = Annotated[TokenHolder, Depends(holder_of)]


def _sent(model: type[Sent], *, required: bool = True) -> Callable[[Request, TokenHolder], Awaitable[Sent]]:
    async def read(request: Request, _holder: Holder) -> Sent:
        return await read_body(request, model, required=required)

    return read


@router.post(
    "/heartbeat",
    response_class=Response,
    responses=_ANSWERS,
    openapi_extra=body_schema(Heartbeat, required=False),
    dependencies=[Depends(_sent(Heartbeat, required=False))],
)
async def tell_that_it_goes_on(services: CurrentServices, holder: Holder) -> Response:
    """Say that the work goes on, and hear whether it is to stop."""
    return _heard(await services.callbacks.heartbeat(holder))


@router.post("/progress", response_class=Response, responses=_ANSWERS, openapi_extra=body_schema(Progress))
async def tell_how_far_it_is(
    services: CurrentServices, holder: Holder, body: Annotated[Progress, Depends(_sent(Progress))]
) -> Response:
    """Say how far the work has come, which is a sign of life as well."""
    return _heard(await services.callbacks.progress(holder, body.report()))


@router.post("/complete", response_class=Response, responses=_ANSWERS, openapi_extra=body_schema(Result))
async def tell_how_it_ended(
    services: CurrentServices, holder: Holder, body: Annotated[Result, Depends(_sent(Result))]
) -> Response:
    """Say how the work has ended; the same may be said again."""
    return _heard(await services.callbacks.complete(holder, body.result()))


def _heard(answer: CallbackAnswer) -> Response:
    return json_response(answer.as_json())
