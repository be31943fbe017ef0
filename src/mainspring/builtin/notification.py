"""The on-demand job `notification`: an organization tells a person, or a channel that is open to it, something."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from mainspring.alerts.recipients import is_mail_address
from mainspring.builtin.steps import Step, enter, invalid_payload, read_request
from mainspring.domain.access import Scope
from mainspring.domain.derived_id import derived_id
from mainspring.domain.notification import DEFAULT_DESTINATION, Message, Severity
from mainspring.domain.write_door import clean_text
from mainspring.errors import PermanentError
from mainspring.store.alerting import notifications
from mainspring.store.alerting.notifications import NOTIFICATIONS, NewNotification
from mainspring.store.identity import users

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.alerts.recipients import Recipients
    from mainspring.jobs.context import JobContext
    from mainspring.store.engine.database import Connection
    from mainspring.store.upkeep.open_store import OpenStore

STEPS: Final = (
    Step("Validate parameters", 20),
    Step("Find the recipient", 50),
    Step("Hand over for delivery", 100),
)
MAX_SUBJECT: Final = 200
MAX_TEXT: Final = 10_000
MAX_NAME: Final = 200
EVENT: Final = "notification"
_KEPT_CONTROLS: Final = "\n\t"


class UnknownRecipientError(PermanentError):
    """Nobody of that name can be told by this organization."""

    code = "UNKNOWN_RECIPIENT"


def _one_line(text: str) -> str:
    return " ".join(_plain(text).split())


def _plain(text: str) -> str:
    """Return text without control characters, which terminals and mail programs act on."""
    kept = (c if c in _KEPT_CONTROLS or unicodedata.category(c) != "Cc" else " " for c in clean_text(text, MAX_TEXT))
    return "".join(kept)


def _something(text: str) -> str:
    if not text.strip():
        raise ValueError("it must say something")
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ToUser(_Strict):
    """A person of the organization."""

    user: str = Field(min_length=1, max_length=MAX_NAME)


class ToChannel(_Strict):
    """A channel that is open to the organization."""

    channel: str = Field(min_length=1, max_length=MAX_NAME)


class NotificationRequest(_Strict):
    """What a notification is asked to be: the payload `{to, subject, text, severity?}`, checked."""

    to: ToUser | ToChannel
    subject: Annotated[str, Field(max_length=MAX_SUBJECT), AfterValidator(_one_line), AfterValidator(_something)]
    text: Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_plain), AfterValidator(_something)]
    severity: Annotated[Severity, Strict(strict=False)] = Severity.INFO


@dataclass(frozen=True, slots=True)
class _Route:
    """By which channel a notification goes, and where to in its terms."""

    channel: str
    destination: str = DEFAULT_DESTINATION


class Notifier:
    """Carries out `notification`.

    Its payload is `{to: {user} | {channel}, subject, text, severity?}`; its result is `{notificationId, to, channel,
    severity}`. The notification is written to the outbox, from where it is delivered: a receiver that is slow or down
    delays no job. Its id follows from that of the execution, so that it is written once however often the execution is
    tried, and a receiver sees the same id every time.

    Args:
        store: Where the outbox is.
        environment: The environment.
        recipients: Who may be told.
    """

    def __init__(self, store: OpenStore, environment: str, recipients: Recipients) -> None:
        self._store = store
        self._environment = environment
        self._recipients = recipients

    async def carry_out(self, ctx: JobContext[dict[str, Any]], payload: object) -> dict[str, Any]:
        """Write one notification to the outbox.

        Raises:
            InvalidPayloadError: The payload is wrong, or names a channel that is not open to the organization.
            UnknownRecipientError: The organization has nobody of that name who gets mail.
        """
        enter(ctx, STEPS, 1)
        request = read_request(ctx, payload, NotificationRequest)
        self._refuse_closed_channel(ctx, request.to)
        enter(ctx, STEPS, 2)
        route = await self._route(request.to, ctx.organization_id)
        enter(ctx, STEPS, 3)
        notification_id = await self._write(ctx, request, route)
        ctx.items(processed=1, succeeded=1)
        ctx.log("the notification waits in the outbox", notification_id=str(notification_id), channel=route.channel)
        return {
            "notificationId": str(notification_id),
            "to": request.to.model_dump(),
            "channel": route.channel,
            "severity": request.severity.value,
        }

    def _refuse_closed_channel(self, ctx: JobContext[Any], to: ToUser | ToChannel) -> None:
        if isinstance(to, ToChannel):
            channels = self._recipients.channels_for(ctx.organization_id)
            if to.channel not in channels:
                known = ", ".join(sorted(channels)) or "none"
                raise invalid_payload(ctx, f"to.channel: no channel {to.channel!r} is open to you; there are: {known}")

    async def _route(self, to: ToUser | ToChannel, organization: str | None) -> _Route:
        if isinstance(to, ToChannel):
            channel = self._recipients.channels_for(organization)[to.channel]
            return _Route(channel.channel, channel.destination)
        if self._recipients.address_book is not None:
            address = await self._recipients.address_in_book(to.user, organization)
        else:
            address = await self._sign_in_name(to.user, organization)
        if address is None or not is_mail_address(address):
            raise UnknownRecipientError(
                f"nobody called {to.user!r} gets mail here: name somebody of your organization whose mail address is "
                "known"
            )
        return _Route("email", address)

    async def _sign_in_name(self, user: str, organization: str | None) -> str | None:
        """Return the name of somebody who may sign in: for most people it is their mail address."""
        scope = Scope(self._environment, organization)
        person = await self._store.database.read(lambda connection: users.get(connection, scope, user))
        return None if person is None or person.disabled_at is not None else person.name

    async def _write(self, ctx: JobContext[Any], request: NotificationRequest, route: _Route) -> UUID:
        notification = NewNotification(
            id=derived_id(ctx.execution_id, EVENT),
            channel=route.channel,
            destination=route.destination,
            message=_message(ctx, request),
            organization_id=ctx.organization_id,
            execution_id=ctx.execution_id,
        )

        def write(connection: Connection) -> None:
            notifications.enqueue(connection, self._environment, [notification])

        await self._store.database.tx(write)
        self._store.signals.send(NOTIFICATIONS)
        return notification.id


def _message(ctx: JobContext[Any], request: NotificationRequest) -> Message:
    """Return the message, which always says whose it is: nobody speaks in the name of the operator."""
    sender = {"Organization": ctx.organization_id, "Sent by": ctx.user_id}
    return Message(
        title=request.subject,
        text=request.text,
        severity=request.severity,
        fields={name: value for name, value in sender.items() if value is not None},
        event=EVENT,
        data={"executionId": str(ctx.execution_id), "organizationId": ctx.organization_id, "userId": ctx.user_id},
    )
