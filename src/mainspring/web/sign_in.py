"""Signing in and out: by a name and a password, or by a link that holds once."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mainspring.domain.access import Scope
from mainspring.security.authentication import SessionEndedError, SignInRefusedError
from mainspring.security.secret_key import is_loopback
from mainspring.security.sessions import LIFETIME
from mainspring.security.sign_in_links import InvalidLinkError
from mainspring.store.identity import users
from mainspring.web.clock import ZONE_COOKIE, zone_named
from mainspring.web.cookies import KEPT_SECONDS, SESSION_COOKIE, base_of, forget, keep
from mainspring.web.csrf import csrf_token, require_own_form
from mainspring.web.visit import OwnVisit, origin_of, services_of
from mainspring.web.words import WORDS

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection
    from mainspring.web.services import Services

router = APIRouter()

BEFORE_COOKIE: Final = "ms_before"
"""A word that a browser has before anybody signs in, so that nobody else's page signs it in under a foreign name."""
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")


@router.get("/sign-in")
async def sign_in_page(request: Request, following: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Show the form."""
    services = services_of(request)
    return await _form(request, services, following, has_ended=await _has_ended(request, services))


@router.post("/sign-in")
async def sign_in(
    request: Request,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    following: Annotated[str, Form(alias="next")] = "/",
    zone: Annotated[str, Form()] = "",
) -> Response:
    """Let somebody in, or say why not."""
    services = services_of(request)
    await require_own_form(request, services, request.cookies.get(BEFORE_COOKIE, ""))
    try:
        session_id = await services.logins.sign_in(
            name, password, origin_of(request, services), previous=request.cookies.get(SESSION_COOKIE)
        )
    except SignInRefusedError as error:
        return await _form(request, services, following, name=name, error=str(error), status=HTTPStatus.UNAUTHORIZED)
    response = RedirectResponse(f"{base_of(request)}{_own_path(following)}", HTTPStatus.SEE_OTHER)
    _set_session(request, response, session_id)
    if zone_named(zone):
        keep(request, response, ZONE_COOKIE, zone, max_age=KEPT_SECONDS)
    return response


@router.get("/sign-in/link")
async def sign_in_link_page(request: Request, word: str = "") -> Response:
    """Ask before a link is used up: some programs look at what a link leads to."""
    return await _form(request, services_of(request), "/", word=word)


@router.post("/sign-in/link")
async def sign_in_by_link(request: Request, word: Annotated[str, Form()] = "") -> Response:
    """Let somebody in by a link, from this machine alone."""
    services = services_of(request)
    await require_own_form(request, services, request.cookies.get(BEFORE_COOKIE, ""))
    is_near = request.client is not None and is_loopback(request.client.host)
    if not is_near or any(name in request.headers for name in _FORWARDED):
        return await _form(request, services, "/", error="links hold on the machine that made them", status=403)
    try:
        session_id = await services.opened.database.tx(lambda connection: _begin(connection, request, services, word))
    except InvalidLinkError as error:
        return await _form(request, services, "/", error=str(error), status=HTTPStatus.UNAUTHORIZED)
    response = RedirectResponse(f"{base_of(request)}/", HTTPStatus.SEE_OTHER)
    _set_session(request, response, session_id)
    return response


@router.post("/sign-out")
async def sign_out(request: Request, visit: OwnVisit) -> Response:
    """End the session."""
    await visit.services.logins.sign_out(visit.actor, request.cookies[SESSION_COOKIE])
    response = RedirectResponse(visit.path("/sign-in"), HTTPStatus.SEE_OTHER)
    forget(request, response, SESSION_COOKIE)
    return response


def _begin(connection: Connection, request: Request, services: Services, word: str) -> str:
    name = services.links.take(connection, word)
    user = users.get(connection, Scope(services.app.settings.environment), name, for_update=True)
    if user is None or user.disabled_at is not None:
        raise InvalidLinkError("the person whom the link lets in is there no more")
    previous = request.cookies.get(SESSION_COOKIE)
    return services.logins.let_in(connection, user, origin_of(request, services), previous=previous)


async def _form(
    request: Request,
    services: Services,
    following: str,
    *,
    name: str = "",
    word: str = "",
    error: str | None = None,
    has_ended: bool = False,
    status: int = HTTPStatus.OK,
) -> Response:
    before = request.cookies.get(BEFORE_COOKIE) or services.app.world.token()
    environment = services.app.settings.environment
    people = await services.opened.database.read(lambda connection: users.find(connection, Scope(environment), most=1))
    html = request.app.state.templates.render_for_strangers(
        "sign_in.html",
        base_of(request),
        {
            "title": WORDS["sign_in"]["title"],
            "csrf_token": csrf_token(services, before),
            "following": _own_path(following),
            "name": name,
            "word": word,
            "error": error,
            "has_ended": has_ended,
            "has_people": bool(people),
        },
    )
    response = HTMLResponse(html, status)
    keep(request, response, BEFORE_COOKIE, before)
    return response


async def _has_ended(request: Request, services: Services) -> bool:
    """Whether the browser holds a session that is over."""
    session_id = request.cookies.get(SESSION_COOKIE)
    if session_id is None:
        return False
    try:
        await services.sessions.actor_of(session_id, origin_of(request, services))
    except SessionEndedError:
        return True
    return False


def _own_path(path: str) -> str:
    """Return a path of ours: an address of somebody else would lead away."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and not any(sign < " " for sign in path)
    return path if is_ours else "/"


def _set_session(request: Request, response: Response, session_id: str) -> None:
    keep(request, response, SESSION_COOKIE, session_id, max_age=int(LIFETIME.total_seconds()))
    forget(request, response, BEFORE_COOKIE)
