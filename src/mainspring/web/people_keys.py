"""`/ui/people/keys`: API keys of organizations, made and shown once; and all keys, revoked.

Who signs in here may not register jobs, and nobody grants more than they have: the keys of services are made at the
terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from mainspring.control.access import AccessChanges
from mainspring.control.keys import KeyCommands
from mainspring.domain.access import Permission, Role
from mainspring.web.visit import ActingVisit, Visit
from mainspring.web.words_people import PEOPLE

if TYPE_CHECKING:
    from datetime import datetime

    from mainspring.security.keys import NewKey
    from mainspring.store.identity.api_keys import ApiKey

router = APIRouter()


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key in words.

    Attributes:
        key: The key, without what proves it.
        holder: Who has it.
        state: Whether it holds.
        tone: The colour of that.
        icon: The sign of that.
        holds: Whether it can be revoked.
    """

    key: ApiKey
    holder: str
    state: str
    tone: str
    icon: str
    holds: bool


def shown_key(key: ApiKey, now: datetime) -> ShownKey:
    """Return a key in words."""
    if key.service_name is not None:
        holder = PEOPLE.of_service.format(name=key.service_name, prefix=key.name_prefix or "")
    else:
        holder = PEOPLE.of_organization.format(name=key.organization_id)
    if key.revoked_at is not None:
        return ShownKey(key, holder, PEOPLE.revoked, "cancel", "ban", holds=False)
    if key.expires_at is not None and key.expires_at <= now:
        return ShownKey(key, holder, PEOPLE.expired, "cancel", "clock", holds=False)
    return ShownKey(key, holder, PEOPLE.holds, "ok", "circle-check", holds=True)


@router.get("/people/keys/organization")
async def ask_for_organization_key(visit: Visit) -> HTMLResponse:
    """Ask for which organization a key is to be made."""
    await visit.require(Permission.MANAGE_ACCESS, staff=False)
    roles = (Role.MEMBER, Role.VIEWER, Role.OPERATOR, Role.ADMIN)
    return visit.fragment("people/new_organization_key.html", roles=roles, text=PEOPLE)


@router.post("/people/keys/organization")
async def add_organization_key(
    visit: ActingVisit, role: Annotated[Role, Form()], organization: Annotated[str, Form(max_length=200)] = ""
) -> HTMLResponse:
    """Make a key for an organization, and show it once."""
    whose = visit.actor.organization_id or organization.strip()
    return _shown_once(visit, await _commands(visit).create_for_organization(visit.actor, whose, role))


@router.get("/people/keys/{key_id}/revoke")
async def ask_to_revoke(visit: Visit, key_id: UUID) -> HTMLResponse:
    """Ask whether a key is to be revoked."""
    await visit.require(Permission.MANAGE_ACCESS, staff=False)
    return visit.fragment(
        "people/confirm.html",
        title=PEOPLE.revoke_title.format(id=key_id),
        body=PEOPLE.revoke_body,
        verb=PEOPLE.revoke,
        action=f"/people/keys/{key_id}/revoke",
        text=PEOPLE,
    )


@router.post("/people/keys/{key_id}/revoke")
async def revoke(visit: ActingVisit, key_id: UUID) -> Response:
    """Revoke a key."""
    await _commands(visit).revoke(visit.actor, key_id)
    return visit.done(PEOPLE.revoke_done.format(id=key_id), go_to="/people")


def _commands(visit: Visit) -> KeyCommands:
    services = visit.services
    return KeyCommands(AccessChanges(visit.database, services.audit), services.secret_key, services.app.world)


def _shown_once(visit: Visit, made: NewKey) -> HTMLResponse:
    secrets = [(PEOPLE.key, made.key), (PEOPLE.signing_secret, made.signing_secret)]
    return visit.fragment("people/secrets.html", told=PEOPLE.key_created, secrets=secrets, text=PEOPLE)
