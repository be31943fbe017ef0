"""`/ui/people`: who may sign in, and as what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from mainspring.control.access import AccessChanges
from mainspring.control.users import UserCommands
from mainspring.domain.access import Actor, Permission, Role
from mainspring.domain.grant import Grant
from mainspring.store.identity import api_keys, users
from mainspring.web.people_keys import shown_key
from mainspring.web.visit import ActingVisit, Visit
from mainspring.web.words_people import PEOPLE

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection
    from mainspring.store.identity.api_keys import ApiKey
    from mainspring.store.identity.users import User

router = APIRouter()
ROLES: Final = (Role.MEMBER, Role.VIEWER, Role.OPERATOR, Role.ADMIN)
"""What people may be; `service` is for programs."""
_PASSWORD_LENGTH: Final = 20


class ActionName(StrEnum):
    """What is done to somebody after one question."""

    DISABLE = "disable"
    ENABLE = "enable"
    SIGN_OUT = "sign-out"


@dataclass(frozen=True, slots=True)
class Action:
    """One of these, in words and as a command."""

    title: str
    body: str
    verb: str
    done: str
    command: Callable[[UserCommands, Actor, str], Awaitable[None]]


ACTIONS: Final[Mapping[ActionName, Action]] = {
    ActionName.DISABLE: Action(
        PEOPLE.disable_title, PEOPLE.disable_body, PEOPLE.disable, PEOPLE.disable_done, UserCommands.disable
    ),
    ActionName.ENABLE: Action(
        PEOPLE.enable_title, PEOPLE.enable_body, PEOPLE.enable, PEOPLE.enable_done, UserCommands.enable
    ),
    ActionName.SIGN_OUT: Action(
        PEOPLE.sign_out_title, PEOPLE.sign_out_body, PEOPLE.sign_out, PEOPLE.sign_out_done, UserCommands.sign_out
    ),
}


@router.get("/people")
async def people(visit: Visit) -> HTMLResponse:
    """Show people and keys."""
    await visit.require(Permission.MANAGE_ACCESS, staff=False)
    return await visit.page("people.html", title=PEOPLE.title, **await _people(visit))


@router.get("/people/users/new")
async def ask_for_person(visit: Visit) -> HTMLResponse:
    """Ask for the name and the role of somebody new."""
    await visit.require(Permission.MANAGE_ACCESS, staff=False)
    return visit.fragment("people/new_person.html", roles=ROLES, text=PEOPLE)


@router.post("/people/users/new")
async def add_person(
    visit: ActingVisit,
    name: Annotated[str, Form(max_length=200)],
    role: Annotated[Role, Form()],
    organization: Annotated[str, Form(max_length=200)] = "",
) -> HTMLResponse:
    """Add somebody, and show their password once."""
    whose = organization.strip() or visit.actor.organization_id
    password = _new_password(visit)
    await _commands(visit).create(visit.actor, name.strip(), Grant(role, whose), password)
    return _shown_once(visit, name.strip(), password)


@router.get("/people/users/{name}/role")
async def ask_for_role(visit: Visit, name: str) -> HTMLResponse:
    """Ask for another role."""
    await visit.require(Permission.MANAGE_ACCESS, staff=False)
    user = await visit.database.read(lambda connection: users.get(connection, visit.scope, name))
    return visit.fragment(
        "people/role.html",
        title=PEOPLE.change_role_title.format(name=name),
        old=None if user is None else user.role,
        roles=ROLES,
        action=f"{_address(name)}/role",
        text=PEOPLE,
    )


@router.post("/people/users/{name}/role")
async def change_role(visit: ActingVisit, name: str, role: Annotated[Role, Form()]) -> Response:
    """Give somebody another role."""
    await _commands(visit).change_role(visit.actor, name, role)
    return visit.done(PEOPLE.role_done.format(name=name, role=role.value), go_to="/people")


@router.get("/people/users/{name}/password")
async def ask_for_new_password(visit: Visit, name: str) -> HTMLResponse:
    """Ask whether somebody is to get a new password."""
    await visit.require(Permission.MANAGE_ACCESS, staff=False)
    return visit.fragment(
        "people/confirm.html",
        title=PEOPLE.new_password_title.format(name=name),
        body=PEOPLE.new_password_body,
        verb=PEOPLE.new_password,
        action=f"{_address(name)}/password",
        text=PEOPLE,
    )


@router.post("/people/users/{name}/password")
async def give_new_password(visit: ActingVisit, name: str) -> HTMLResponse:
    """Make a new password for somebody, and show it once."""
    password = _new_password(visit)
    await _commands(visit).set_password(visit.actor, name, password)
    return _shown_once(visit, name, password)


@router.get("/people/users/{name}/{action}")
async def ask(visit: Visit, name: str, action: ActionName) -> HTMLResponse:
    """Ask whether something is to be done to somebody."""
    await visit.require(Permission.MANAGE_ACCESS, staff=False)
    asked = ACTIONS[action]
    return visit.fragment(
        "people/confirm.html",
        title=asked.title.format(name=name),
        body=asked.body,
        verb=asked.verb,
        action=f"{_address(name)}/{action}",
        text=PEOPLE,
    )


@router.post("/people/users/{name}/{action}")
async def act(visit: ActingVisit, name: str, action: ActionName) -> Response:
    """Do it."""
    asked = ACTIONS[action]
    await asked.command(_commands(visit), visit.actor, name)
    return visit.done(asked.done.format(name=name), go_to="/people")


def access_changes(visit: Visit) -> AccessChanges:
    """Return what changes who may do what."""
    return AccessChanges(visit.database, visit.services.audit)


def _commands(visit: Visit) -> UserCommands:
    return UserCommands(access_changes(visit), visit.services.passwords, visit.services.app.world)


def _address(name: str) -> str:
    return f"/people/users/{quote(name, safe='')}"


def _new_password(visit: Visit) -> str:
    return visit.services.app.world.token()[:_PASSWORD_LENGTH]


def _shown_once(visit: Visit, name: str, password: str) -> HTMLResponse:
    secrets = [(PEOPLE.password, password)]
    return visit.fragment("people/secrets.html", told=PEOPLE.created.format(name=name), secrets=secrets, text=PEOPLE)


async def _people(visit: Visit) -> dict[str, Any]:
    def read(connection: Connection) -> tuple[list[User], list[ApiKey]]:
        return users.find(connection, visit.scope), api_keys.find(connection, visit.scope)

    found, keys = await visit.database.read(read)
    return {
        "people": [
            {"user": user, "address": _address(user.name), "is_you": user.name == visit.actor.subject} for user in found
        ],
        "keys": [shown_key(key, visit.now) for key in keys],
        "text": PEOPLE,
    }
