"""What routes ask for: the services of the application, who is calling, and a body that is read with care."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast

import orjson
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ValidationError

from mainspring.api.problems import BodyTooLargeError, Fault, InvalidRequestError, MalformedBodyError
from mainspring.control.executions import ExecutionCommands
from mainspring.domain.access import Actor, Origin, Permission
from mainspring.security.audit import Audit, Target
from mainspring.security.revocation import RevocationList
from mainspring.security.secret_key import Purpose, SecretKey
from mainspring.security.tokens import AuthenticationError, Tokens

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.store.database import Database

Body = TypeVar("Body", bound=BaseModel)

MAX_BODY_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 64
_MAX_FAULTS: Final = 20
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")
_bearer = HTTPBearer(auto_error=False, description="A token of `mainspring token create`.")


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes work with, made when the application has opened its store.

    Attributes:
        app: The application.
        database: Its open store, for reads.
        commands: What changes executions, with audit.
        audit: Permissions and the audit.
        tokens: Reads bearer tokens.
        revocations: Which of them no longer hold.
    """

    app: Mainspring
    database: Database
    commands: ExecutionCommands
    audit: Audit
    tokens: Tokens
    revocations: RevocationList

    @classmethod
    def of(cls, app: Mainspring, key: SecretKey) -> Services:
        """Return the services of an application whose store is open."""
        settings, world, opened = app.settings, app.world, app.opened
        audit = Audit(opened.database, world, key.derive(Purpose.AUDIT))
        return cls(
            app=app,
            database=opened.database,
            commands=ExecutionCommands(
                database=opened.database,
                registry=app.registry,
                signals=opened.signals,
                world=world,
                environment=settings.environment,
                audit=audit,
            ),
            audit=audit,
            tokens=Tokens(
                key,
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience,
                environment=settings.environment,
                world=world,
            ),
            revocations=RevocationList(opened.database, world),
        )


def services_of(request: Request) -> Services:
    """Return the services of the application that serves a request."""
    return request.app.state.services


CurrentServices = Annotated[Services, Depends(services_of)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def actor_of(request: Request, services: CurrentServices, credentials: Credentials) -> Actor:
    """Return who is calling.

    Raises:
        AuthenticationError: There is no bearer token, or it does not hold.
    """
    if credentials is None:
        raise AuthenticationError("send a bearer token: `Authorization: Bearer …`, made by `mainspring token create`")
    token = services.tokens.verify(credentials.credentials)
    await services.revocations.check(token)
    address = request.client.host if request.client else None
    return token.used_from(Origin(request_id=request.state.request_id, address=address))


CurrentActor = Annotated[Actor, Depends(actor_of)]


def actor_who_may(permission: Permission, action: str) -> Callable[[Request, Services, Actor], Awaitable[Actor]]:
    """Return a dependency that gives the caller, if it holds a permission; a denial is audited.

    Args:
        permission: What it must be allowed.
        action: What it wants to do, in the words of the audit, for instance `execution.view`.
    """

    async def check(request: Request, services: CurrentServices, actor: CurrentActor) -> Actor:
        await services.audit.require(actor, permission, action, Target("path", request.url.path))
        return actor

    return check


async def allow_this_machine_or_readers(request: Request, services: CurrentServices, credentials: Credentials) -> None:
    """Let in whoever is on this machine, and elsewhere those who may read the settings.

    A proxy on this machine brings requests from others, and says so in a header.

    Raises:
        AuthenticationError: The request may come from elsewhere, and nobody knows who sends it.
        PermissionDeniedError: The caller may not read the settings.
    """
    if request.app.state.is_loopback and not any(name in request.headers for name in _FORWARDED):
        return
    actor = await actor_of(request, services, credentials)
    target = Target("path", request.url.path)
    await services.audit.require(actor, Permission.READ_ADMIN_SETTINGS, "settings.view", target)


def json_body(model: type[Body]) -> Callable[[Request, Actor], Awaitable[Body]]:
    """Return a dependency that reads the body as JSON, whatever its Content-Type, and checks it.

    It asks for the actor first, so that nobody unknown makes us read anything.

    Args:
        model: What the body must be.
    """

    async def read(request: Request, _actor: CurrentActor) -> Body:
        value = _parsed(await _capped(request))
        try:
            return model.model_validate(value)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)[:_MAX_FAULTS]
            raise InvalidRequestError([
                Fault(".".join(str(part) for part in problem["loc"]), _said(problem["type"], problem["msg"]))
                for problem in problems
            ]) from error  # fmt: skip

    return read


def _said(kind: str, message: str) -> str:
    return "there is no such field" if kind == "extra_forbidden" else message.removeprefix("Value error, ")


def body_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body that `json_body` reads."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


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
            f"the body is not JSON: {error.msg} (line {error.lineno} column {error.colno})"
        ) from error
    if not _is_shallow(value):
        raise _too_deep()
    return value


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
