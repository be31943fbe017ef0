"""A job that a service has registered through the door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.control.access import AccessChanges
from mainspring.control.keys import KeyCommands
from mainspring.domain.access import Actor
from mainspring.security.secret_key import SecretKey
from tests.api.conftest import SECRET_KEY

if TYPE_CHECKING:
    import httpx2

    from tests.api.conftest import Door

NAME: Final = "mail.digest"


async def register_remote_job(door: Door) -> httpx2.AsyncClient:
    """Register the job `mail.digest` of the service `mailer`, which nobody calls here, and return that client."""
    keys = KeyCommands(
        AccessChanges(door.services.database, door.services.audit), SecretKey(SECRET_KEY.encode()), door.app.world
    )
    root = Actor.at_terminal(door.app.settings.environment, "root")
    key = await keys.create_for_service(root, "mailer", "mail.")
    service = await door.client(key.key)
    answer = await service.post("/api/jobs/register", json={"name": NAME, "serviceUrl": "https://mail.example"})
    assert answer.status_code == 201, answer.text
    return service
