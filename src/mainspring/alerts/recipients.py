"""Who may be told something by the jobs of organizations: destinations that the operator opened, and people."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from mainspring.alerts.configured_channels import channel_types
from mainspring.domain.notification import DEFAULT_DESTINATION
from mainspring.errors import DefinitionError
from mainspring.jobs.named import NamedRegistry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection

_MAIL_ADDRESS: Final = re.compile(r"[^@\s,<>]+@[^@\s,<>]+")
"""A comma would make it several addresses."""


class AddressBook(Protocol):
    """Says where a user of an organization gets mail."""

    def __call__(self, user: str, organization_id: str | None, /) -> str | Awaitable[str | None] | None:
        """Return the address; None: nobody of that name belongs to the organization, or wants mail."""
        ...


Book = TypeVar("Book", bound=AddressBook)


@dataclass(frozen=True, slots=True)
class OpenChannel:
    """A destination that organizations may send notifications to, by its name alone.

    Attributes:
        name: What `to.channel` calls it.
        channel: The kind of channel, such as `slack`.
        destination: Where to, in that channel's terms.
        organizations: Which organizations may; None: all.
    """

    name: str
    channel: str
    destination: str
    organizations: frozenset[str] | None


class Recipients:
    """Who the job `notification` may tell. As long as nothing is added, no destination is open to anybody."""

    def __init__(self) -> None:
        self._channels: NamedRegistry[OpenChannel] = NamedRegistry("channel")
        self.address_book: AddressBook | None = None

    def add_channel(
        self,
        name: str,
        *,
        channel: str,
        destination: str = DEFAULT_DESTINATION,
        organizations: Collection[str] | None = None,
    ) -> None:
        """Open a destination of yours to the jobs of organizations.

        Args:
            name: What `to.channel` calls it, `[A-Za-z0-9][A-Za-z0-9._-]{0,199}`.
            channel: The kind of channel: `slack`, `email`, `webhook` or one of your own.
            destination: Where to, in that channel's terms; by default where the settings say.
            organizations: Which organizations may write to it; None: all.

        Raises:
            DefinitionError: The name is taken or cannot be one, or no channel of that kind is installed.

        Example:
            >>> Recipients().add_channel("support", channel="slack", destination="#support")
        """
        if channel not in channel_types():
            known = ", ".join(sorted(channel_types()))
            raise DefinitionError(
                f"channel {name!r}: no channel of the kind {channel!r} is installed; there are {known}"
            )
        allowed = None if organizations is None else frozenset(organizations)
        self._channels.add(OpenChannel(name, channel, destination, allowed))

    def people(self, address_book: Book) -> Book:
        """Let a function say where users get mail, in place of the people who sign in to the dashboard.

        Example:
            >>> recipients = Recipients()
            >>> @recipients.people
            ... async def address(user: str, organization_id: str | None) -> str | None:
            ...     return {("ada", "acme"): "ada@acme.example"}.get((user, organization_id))
        """
        self.address_book = address_book
        return address_book

    def channels_for(self, organization_id: str | None) -> dict[str, OpenChannel]:
        """Return what is open to an organization, by name; all of it to the platform itself."""
        return {
            channel.name: channel
            for channel in self._channels
            if organization_id is None or channel.organizations is None or organization_id in channel.organizations
        }

    async def address_in_book(self, user: str, organization_id: str | None) -> str | None:
        """Return where a user gets mail, as the application's own function says."""
        if self.address_book is None:
            return None
        answer = self.address_book(user, organization_id)
        return await answer if inspect.isawaitable(answer) else answer


def is_mail_address(text: str) -> bool:
    """Whether mail can go to this text: one address, and nothing else.

    Example:
        >>> is_mail_address("ada@acme.example"), is_mail_address("ada@acme.example,eve@evil.example")
        (True, False)
    """
    return _MAIL_ADDRESS.fullmatch(text) is not None
