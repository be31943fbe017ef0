"""Errors as answers: `application/problem+json` (RFC 9457) with a stable `code`, from one table."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from mainspring.api.envelope import FailureEnvelope, enveloped_error, is_enveloped
from mainspring.api.faults import Fault, faults_in
from mainspring.api.rate_limit import TooManyRequestsError
from mainspring.control.alerts import AlertEndedError, AlertNotFoundError, NothingToUndoError
from mainspring.control.creation import UnknownJobTypeError, UnseenParentError
from mainspring.control.job_breakers import NoBreakerError
from mainspring.control.jobs import JobAlreadyRunningError
from mainspring.control.maintenance import SilenceNotFoundError, UnfitWindowError
from mainspring.control.notification_routes import RouteNotFoundError, UnfitRouteError
from mainspring.control.replays import NothingToReplayError, ReplayEndedError, ReplayNotFoundError
from mainspring.control.schedules import NoScheduleError, PastInstantError, VersionConflictError
from mainspring.control.service_job_checks import JobElsewhereError, TooManyJobsError, UnfitJobError
from mainspring.control.templates import UnknownTemplateError
from mainspring.domain.code_version import UnorderedVersionError
from mainspring.domain.cron_syntax import CronError
from mainspring.domain.money import MonetaryValueError
from mainspring.domain.write_door import json_text
from mainspring.errors import (
    DatabaseUnreachableError,
    EgressRefusedError,
    ExecutionNotFoundError,
    ExternalJobError,
    IdempotencyConflictError,
    InvalidPayloadError,
    JobNotFoundError,
    LeaseLostError,
    MainspringError,
    NotCancellableError,
    NotRetryableError,
    NotRunningError,
    PayloadTooLargeError,
    PermissionDeniedError,
    SchemaMismatchError,
)
from mainspring.reports.storage import ExportNotFoundError
from mainspring.security.authentication import AuthenticationError, SessionEndedError, SignInRefusedError
from mainspring.security.key_set import KeySetUnavailableError
from mainspring.security.logins import TooManySignInsError
from mainspring.security.passwords import TooBusyError

_logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 5


class MalformedBodyError(MainspringError):
    """The body is not JSON."""

    code = "MALFORMED_JSON"


class BodyTooLargeError(MainspringError):
    """The body is larger than this server reads."""

    code = "BODY_TOO_LARGE"


class InvalidRequestError(MainspringError):
    """The request is readable and wrong.

    Args:
        faults: What is wrong with it.
    """

    code = "INVALID_REQUEST"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.path}: {fault.message}" for fault in faults))
        self.faults = faults


class NotReadyError(MainspringError):
    """This node does not take requests now."""

    code = "NOT_READY"


class ServiceNotFoundError(MainspringError):
    """No service of that name has registered jobs."""

    code = "SERVICE_NOT_FOUND"


STATUS_OF: Final[Mapping[type[MainspringError], HTTPStatus]] = {
    MalformedBodyError: HTTPStatus.BAD_REQUEST,
    AuthenticationError: HTTPStatus.UNAUTHORIZED,
    PermissionDeniedError: HTTPStatus.FORBIDDEN,
    ExecutionNotFoundError: HTTPStatus.NOT_FOUND,
    JobNotFoundError: HTTPStatus.NOT_FOUND,
    ServiceNotFoundError: HTTPStatus.NOT_FOUND,
    ExportNotFoundError: HTTPStatus.NOT_FOUND,
    AlertNotFoundError: HTTPStatus.NOT_FOUND,
    SilenceNotFoundError: HTTPStatus.NOT_FOUND,
    RouteNotFoundError: HTTPStatus.NOT_FOUND,
    ReplayNotFoundError: HTTPStatus.NOT_FOUND,
    AlertEndedError: HTTPStatus.CONFLICT,
    NothingToUndoError: HTTPStatus.CONFLICT,
    ReplayEndedError: HTTPStatus.CONFLICT,
    NothingToReplayError: HTTPStatus.CONFLICT,
    NoBreakerError: HTTPStatus.CONFLICT,
    IdempotencyConflictError: HTTPStatus.CONFLICT,
    NotCancellableError: HTTPStatus.CONFLICT,
    NotRetryableError: HTTPStatus.CONFLICT,
    LeaseLostError: HTTPStatus.CONFLICT,
    ExternalJobError: HTTPStatus.CONFLICT,
    JobAlreadyRunningError: HTTPStatus.CONFLICT,
    NoScheduleError: HTTPStatus.CONFLICT,
    VersionConflictError: HTTPStatus.CONFLICT,
    JobElsewhereError: HTTPStatus.CONFLICT,
    BodyTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    InvalidRequestError: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidPayloadError: HTTPStatus.UNPROCESSABLE_ENTITY,
    PayloadTooLargeError: HTTPStatus.UNPROCESSABLE_ENTITY,
    MonetaryValueError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnknownJobTypeError: HTTPStatus.UNPROCESSABLE_ENTITY,
    CronError: HTTPStatus.UNPROCESSABLE_ENTITY,
    PastInstantError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnfitWindowError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnfitRouteError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnknownTemplateError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnseenParentError: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooManyJobsError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnfitJobError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnorderedVersionError: HTTPStatus.UNPROCESSABLE_ENTITY,
    EgressRefusedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooManyRequestsError: HTTPStatus.TOO_MANY_REQUESTS,
    TooManySignInsError: HTTPStatus.TOO_MANY_REQUESTS,
    TooBusyError: HTTPStatus.SERVICE_UNAVAILABLE,
    DatabaseUnreachableError: HTTPStatus.SERVICE_UNAVAILABLE,
    KeySetUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    SchemaMismatchError: HTTPStatus.SERVICE_UNAVAILABLE,
    NotReadyError: HTTPStatus.SERVICE_UNAVAILABLE,
    NotRunningError: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The status of each exception; a class that is not here has that of the nearest one above it."""

OF_SIGNING_IN: Final[frozenset[type[MainspringError]]] = frozenset(
    {SessionEndedError, SignInRefusedError, TooBusyError, TooManySignInsError}
)
"""What only people meet who sign in to the dashboard, and no program with a bearer credential."""

# What these say would tell strangers about the inside, or tell a foreign id from an unknown one.
_SAID_INSTEAD: Final[Mapping[type[MainspringError], str]] = {
    ExecutionNotFoundError: "there is no such job: its id is the `jobId` that its creation answered",
    ExportNotFoundError: "there is no such file: its address is the `downloadUrl` in the result of its job",
    DatabaseUnreachableError: "the database does not answer; try again soon",
    KeySetUnavailableError: "the keys of the identity provider cannot be had; try again soon",
    SchemaMismatchError: "the database holds another version of the schema than this server needs",
    NotRunningError: "the server is starting or stopping; try again soon",
}


class FaultView(BaseModel):
    """One thing that is wrong with a request."""

    path: str
    message: str


class Problem(BaseModel):
    """Why a request was not done (RFC 9457)."""

    model_config = ConfigDict(populate_by_name=True)

    type: str = "about:blank"
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What happened, to which thing, and what to do.")
    code: str = Field(description="A word that never changes: match on this one.")
    request_id: str | None = Field(
        default=None,
        alias="requestId",
        description="What to tell whoever runs the server; not on 404, so that all are equal.",
    )
    errors: list[FaultView] | None = Field(default=None, description="Where the request is wrong.")
    field: str | None = Field(default=None, description="Of `INVALID_CRON`: the field at fault.")
    position: int | None = Field(default=None, description="Of `INVALID_CRON`: the character at fault, from 1.")


def problem_response(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    faults: Sequence[Fault] = (),
    more: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer for an error: a problem document, or what the platform-jobs document has at `/admin/jobs`.

    A 404 names no request: the answer for the id of another tenant is, byte for byte, the one for an unknown id. The
    header `X-Request-Id` is on every answer.
    """
    if is_enveloped(request.url.path):
        return enveloped_error(status, code, detail, headers)
    body: dict[str, Any] = {
        "type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code
    }  # fmt: skip
    if status != HTTPStatus.NOT_FOUND:
        body["requestId"] = request.state.request_id
    body |= more or {}
    if faults:
        body["errors"] = [{"path": fault.path, "message": fault.message} for fault in faults]
    return Response(json_text(body), status_code=status, headers=headers, media_type=MEDIA_TYPE)


def unexpected_response(request: Request) -> Response:
    """Return the answer for an error of ours, which tells nothing but where to find it."""
    return problem_response(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "INTERNAL_ERROR",
        "something went wrong here; the log has it by its request id",
    )


def install(api: FastAPI) -> None:
    """Make every error of `api` a problem document."""
    api.add_exception_handler(MainspringError, _known_error)
    api.add_exception_handler(RequestValidationError, _invalid_parameters)
    api.add_exception_handler(HTTPException, _of_framework)


def documented(*errors: type[MainspringError] | int) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of the errors of a route that needs an actor.

    Args:
        *errors: What it answers besides the errors of all such routes; a status stands for all errors that have it.
    """
    return documented_alone(*errors, *_OF_EVERY_ACTOR)


def documented_alone(*errors: type[MainspringError] | int) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of the errors of a route: by their status, with an example of each code.

    The document is made with the media type of answers that are well; `openapi` puts that of problems in its place.
    """
    answers: dict[int | str, dict[str, Any]] = {}
    kinds = {kind for error in errors for kind in _kinds_of(error)} - OF_SIGNING_IN
    for kind in sorted(kinds, key=lambda kind: kind.code):
        status: HTTPStatus = _nearest(STATUS_OF, kind)
        documented_answer(answers, status, kind.code, inspect.cleandoc(kind.__doc__ or "").partition("\n")[0])
    return dict(sorted(answers.items(), key=lambda answer: int(answer[0])))


def documented_answer(answers: dict[int | str, dict[str, Any]], status: HTTPStatus, code: str, meaning: str) -> None:
    """Add an error to what the OpenAPI document says of the answers of a route."""
    example = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": meaning, "code": code}
    # By reference: for a model FastAPI would make a validator for each status of each route, a tenth of a start.
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    empty: dict[str, Any] = {
        "description": status.phrase,
        "content": {"application/json": {"schema": schema, "examples": {}}},
    }
    answer = answers.setdefault(int(status), empty)
    answer["content"]["application/json"]["examples"][code] = {"summary": meaning, "value": example}


def of_every_address() -> dict[str, dict[str, Any]]:
    """Return what the OpenAPI document says of the errors that every address may answer."""
    answers: dict[int | str, dict[str, Any]] = {}
    unknown = "This server is not known by the name in the header `Host`."
    documented_answer(answers, HTTPStatus.MISDIRECTED_REQUEST, "HOST_UNKNOWN", unknown)
    documented_answer(answers, HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "Something went wrong here.")
    return {str(status): answer for status, answer in answers.items()}


def schemas() -> dict[str, Any]:
    """Return what the OpenAPI document says problems look like, by the names that `documented` refers to."""
    _, definitions = models_json_schema(
        [(Problem, "serialization"), (FailureEnvelope, "serialization")], ref_template="#/components/schemas/{model}"
    )
    return definitions["$defs"]


_OF_EVERY_ACTOR: Final[tuple[type[MainspringError], ...]] = (
    AuthenticationError,
    PermissionDeniedError,
    TooManyRequestsError,
    DatabaseUnreachableError,
    KeySetUnavailableError,
    SchemaMismatchError,
    NotRunningError,
)


def _kinds_of(error: type[MainspringError] | int) -> Iterator[type[MainspringError]]:
    """Return an exception class with all below it, or all that have a status."""
    if isinstance(error, int):
        for kind, status in STATUS_OF.items():
            if status == error:
                yield from _kinds_of(kind)
        return
    yield error
    for special in error.__subclasses__():
        yield from _kinds_of(special)


def _nearest(table: Mapping[type[MainspringError], Any], kind: type[Exception]) -> Any:  # noqa: ANN401 - what the table holds
    return next((table[above] for above in kind.__mro__ if above in table), None)


async def _known_error(request: Request, error: Exception) -> Response:
    status: HTTPStatus | None = _nearest(STATUS_OF, type(error))
    if status is None or not isinstance(error, MainspringError):
        raise error
    headers: dict[str, str] = {}
    if status is HTTPStatus.UNAUTHORIZED:
        invalid = ', error="invalid_token"' if "authorization" in request.headers else ""
        headers["WWW-Authenticate"] = f'Bearer realm="mainspring"{invalid}'
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        _logger.warning("request %s was not done: %s", request.state.request_id, error)
    if isinstance(error, TooManyRequestsError | TooManySignInsError):
        headers["Retry-After"] = str(math.ceil(error.retry_after.total_seconds()))
    faults = error.faults if isinstance(error, InvalidRequestError) else ()
    place = {"field": error.field, "position": error.position} if isinstance(error, CronError) else None
    detail = _nearest(_SAID_INSTEAD, type(error)) or str(error)
    return problem_response(request, status, error.code, detail, faults=faults, more=place, headers=headers)


async def _invalid_parameters(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    problems = [{**problem, "loc": problem["loc"][1:]} for problem in error.errors()]
    return await _known_error(request, InvalidRequestError(faults_in(problems)))


async def _of_framework(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    detail, headers = error.detail, dict(error.headers or {})
    if status is HTTPStatus.NOT_FOUND:
        slash = request.url.path.endswith("/")
        way_out = "leave out the slash at its end" if slash else "`/docs` and `/openapi.json` list all there are"
        detail = f"there is nothing at this address: {way_out}"
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = await _methods_at(request) or headers["Allow"]
        detail = f"this address does not take {request.method}: it takes {headers['Allow']}"
    return problem_response(request, status, status.name, detail, headers=headers)


async def _methods_at(request: Request) -> str:
    """Return every method of an address: the framework stops at the first route that it finds there."""
    document: Mapping[str, Any] = await run_in_threadpool(request.app.openapi)  # it takes long to make
    paths: Mapping[str, Mapping[str, Any]] = document["paths"]
    found = [operations for path, operations in paths.items() if compile_path(path)[0].match(request.url.path)]
    return ", ".join(sorted({method.upper() for operations in found for method in operations}))
