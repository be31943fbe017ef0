"""`/ui/settings`: what is the visitor's own: clock, density of tables, single keys, password, sessions."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final, Literal

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mainspring.control.own_access import OwnAccess
from mainspring.security.authentication import SignInRefusedError
from mainspring.security.passwords import UnfitPasswordError
from mainspring.security.sessions import LIFETIME
from mainspring.web.clock import CLOCK_COOKIE, ZONE_COOKIE, zone_label, zone_named
from mainspring.web.cookies import KEPT_SECONDS, SESSION_COOKIE, forget, keep
from mainspring.web.visit import OwnVisit, Visit
from mainspring.web.words_people import SETTINGS

if TYPE_CHECKING:
    from mainspring.web.visit import PageVisit

router = APIRouter()
KEYS_COOKIE: Final = "ms_keys"
DENSITY_COOKIE: Final = "ms_density"


@router.get("/settings")
async def settings(visit: Visit, saved: Literal["settings", "password"] | None = None) -> HTMLResponse:
    """Show the settings."""
    told = {None: None, "settings": SETTINGS.saved, "password": SETTINGS.changed}[saved]
    return await _page(visit, told=told)


@router.post("/settings")
async def save(
    visit: OwnVisit,
    clock: Annotated[Literal["mine", "utc", "schedule"], Form()],
    density: Annotated[Literal["comfortable", "compact"], Form()],
    keys: Annotated[Literal["on", "off"], Form()],
    zone: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Keep what was chosen, in cookies of this browser."""
    if zone and zone_named(zone) is None:
        return await _page(visit, error=SETTINGS.zone_unknown.format(zone=zone))
    response = RedirectResponse(visit.path("/settings?saved=settings"), HTTPStatus.SEE_OTHER)
    for name, value in ((CLOCK_COOKIE, clock), (DENSITY_COOKIE, density), (KEYS_COOKIE, keys), (ZONE_COOKIE, zone)):
        keep(visit.request, response, name, value, max_age=KEPT_SECONDS if value else 0)
    return response


@router.post("/settings/password")
async def change_password(
    visit: OwnVisit, present: Annotated[str, Form(max_length=1_000)], new: Annotated[str, Form(max_length=1_000)]
) -> Response:
    """Change one's own password."""
    try:
        session_id = await _own_access(visit).change_password(visit.actor, present=present, new=new)
    except (SignInRefusedError, UnfitPasswordError) as error:
        return await _page(visit, password_error=str(error))
    response = RedirectResponse(visit.path("/settings?saved=password"), HTTPStatus.SEE_OTHER)
    keep(visit.request, response, SESSION_COOKIE, session_id, max_age=int(LIFETIME.total_seconds()))
    return response


@router.post("/settings/sign-out")
async def sign_out_everywhere(visit: OwnVisit) -> Response:
    """End all one's sessions."""
    await _own_access(visit).sign_out_everywhere(visit.actor)
    response = RedirectResponse(visit.path("/sign-in"), HTTPStatus.SEE_OTHER)
    forget(visit.request, response, SESSION_COOKIE)
    return response


def _own_access(visit: PageVisit) -> OwnAccess:
    services = visit.services
    return OwnAccess(visit.database, services.audit, services.passwords, services.logins, services.sessions)


async def _page(
    visit: PageVisit, *, told: str | None = None, error: str | None = None, password_error: str | None = None
) -> HTMLResponse:
    cookies = visit.request.cookies
    return await visit.page(
        "settings.html",
        title=SETTINGS.title,
        status=HTTPStatus.OK if error is None and password_error is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        chosen={
            "clock": visit.clock.choice,
            "density": cookies.get(DENSITY_COOKIE, "comfortable"),
            "keys": cookies.get(KEYS_COOKIE, "on"),
        },
        zone=zone_label(visit.clock.own),
        told=told,
        error=error,
        password_error=password_error,
        text=SETTINGS,
    )
