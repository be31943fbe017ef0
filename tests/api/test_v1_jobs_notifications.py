"""`GET /v1/jobs/{id}/notifications`: what a job told to the outside, as its organization sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.derived_id import derived_id
from mainspring.domain.notification import Message
from mainspring.store.alerting import notifications
from mainspring.store.alerting.notifications import NewNotification
from mainspring.store.tables import notifications as table

if TYPE_CHECKING:
    import httpx2

    from tests.api.conftest import Door


async def tell(door: Door, job_id: str, **fields: Any) -> None:
    """Write a notification of a job to the outbox, with these columns."""
    identity = door.app.world.new_id()
    item = NewNotification(
        derived_id(identity, "notification"),
        "slack",
        Message("Help", event="notification"),
        destination="#the-operators-own",
        organization_id="acme",
        execution_id=type(identity)(job_id),
    )

    def write(connection: sa.Connection) -> None:
        notifications.enqueue(connection, door.app.settings.environment, [item])
        connection.execute(sa.update(table).where(table.c.id == item.id).values(attempts=1, **fields))

    await door.services.database.tx(write)


async def test_what_waits_says_when_it_is_tried_again(door: Door, ada: httpx2.AsyncClient) -> None:
    job_id = await door.create(ada)
    await tell(door, job_id)

    (told,) = (await ada.get(f"/v1/jobs/{job_id}/notifications")).json()["notifications"]

    assert (told["status"], told["attempts"], told["channel"], told["event"]) == ("pending", 1, "slack", "notification")
    assert told["availableAt"] == told["createdAt"]
    assert told["deliveredAt"] is None


async def test_what_was_given_up_tells_nothing_of_how_the_operator_has_set_things_up(
    door: Door, ada: httpx2.AsyncClient
) -> None:
    job_id = await door.create(ada)
    await tell(door, job_id, status="dead", last_error="the mail server mail.internal answered 550")

    answer = await ada.get(f"/v1/jobs/{job_id}/notifications")

    (told,) = answer.json()["notifications"]
    assert (told["status"], told["availableAt"]) == ("dead", None)
    assert "mail.internal" not in answer.text
    assert "#the-operators-own" not in answer.text


async def test_a_job_that_told_nothing_has_an_empty_list(door: Door, ada: httpx2.AsyncClient) -> None:
    other, job_id = await door.create(ada), await door.create(ada)
    await tell(door, other)

    assert (await ada.get(f"/v1/jobs/{job_id}/notifications")).json() == {"notifications": []}
