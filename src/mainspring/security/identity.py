"""Who is calling: one place that reads every credential, and says later whether it still holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mainspring.domain.access import Credential, CredentialKind
from mainspring.security import keys
from mainspring.security.claims import expired, header_of
from mainspring.security.keys import Keys
from mainspring.security.provider_tokens import ALGORITHMS, ProviderTokens
from mainspring.security.revocation import RevocationList
from mainspring.security.sessions import Sessions
from mainspring.security.tokens import Tokens

if TYPE_CHECKING:
    from mainspring.domain.access import Actor, Origin
    from mainspring.egress.client import Egress
    from mainspring.security.secret_key import SecretKey
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.world import World


class Identity:
    """Says who acts by a bearer credential: a token of ours, a token of the identity provider, or an API key.

    Sessions of the dashboard never authorise what takes bearer credentials; `sessions` reads them for its pages.

    Args:
        settings: Issuer, audience, environment, and the address of the provider's keys.
        database: Where keys, sessions and revocations are.
        secret_key: The secret key in force.
        egress: By which the provider's keys are fetched.
        world: The clocks by which credentials end.
    """

    def __init__(
        self, settings: Settings, *, database: Database, secret_key: SecretKey, egress: Egress, world: World
    ) -> None:
        self.tokens = Tokens.of(settings, secret_key, world)
        self.sessions = Sessions(database, settings.environment, world)
        self._provider_tokens = ProviderTokens.of(settings, egress, world)
        self._keys = Keys(database, settings.environment, world)
        self._revocations = RevocationList(database, world)
        self._world = world

    async def actor_of(self, credential: str, origin: Origin) -> Actor:
        """Return who acts by a bearer credential.

        Args:
            credential: What follows `Bearer` in the header `Authorization`.
            origin: The request that it came with.

        Raises:
            AuthenticationError: It does not hold, for the reason that its class says.
            KeySetUnavailableError: It is signed by the provider, whose keys cannot be had.
            DatabaseUnreachableError: Nobody can say whether it was revoked.
        """
        if credential.startswith(keys.PREFIX):
            actor = await self._keys.verify(credential)
        else:
            actor = await self._verify_token(credential)
            await self.check(actor)
        return replace(actor, origin=origin)

    async def check(self, actor: Actor) -> None:
        """Return if an actor may go on: its credential has not ended, and nobody has ended it.

        A stream that stays open asks every few seconds, so that a revocation is felt within ten.

        Raises:
            AuthenticationError: It may not.
            DatabaseUnreachableError: Nobody can say.
        """
        match actor.credential:
            case Credential(CredentialKind.TOKEN) as token:
                if token.expires_at is not None and token.expires_at <= self._world.now():
                    raise expired(token.expires_at)
                await self._revocations.check(actor, token)
            case Credential(CredentialKind.KEY) as key:
                await self._keys.check(key)
            case Credential(CredentialKind.SESSION) as session:
                await self.sessions.check(session)
            case _:
                return

    def forget(self) -> None:
        """Ask the store at the next look: this process has just revoked something."""
        self._keys.forget()
        self._revocations.forget()

    async def _verify_token(self, text: str) -> Actor:
        # The header only says whose token this claims to be; each of the two trusts its own keys and its own issuer.
        if self._provider_tokens is not None and str(header_of(text).get("alg")) in ALGORITHMS:
            return await self._provider_tokens.verify(text)
        return self.tokens.verify(text)
