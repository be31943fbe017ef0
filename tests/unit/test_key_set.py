"""The keys of an identity provider: which are believed, for how long, and what its address may answer."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.egress.client import Egress
from mainspring.security.authentication import ForgedTokenError
from mainspring.security.key_set import (
    LONGEST_STALE_SECONDS,
    MAX_BYTES,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    KeySet,
    KeySetUnavailableError,
    read_keys,
)
from mainspring.security.provider_tokens import ProviderTokens
from mainspring.settings import Settings
from tests.unit.identity_provider import ISSUER, Address, ManualWorld, jwk, private_key, signed, text_of, tokens_by

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@pytest.fixture
def world() -> ManualWorld:
    return ManualWorld()


@pytest.fixture
def address() -> Address:
    return Address(jwk("rsa1"), jwk("ec1"))


@pytest.fixture
def tokens(address: Address, world: ManualWorld) -> ProviderTokens:
    return tokens_by(KeySet("https://id.example/keys", address.fetch, world), world)


class TestKeys:
    @pytest.mark.parametrize(
        "useless",
        [
            {"kty": "oct", "k": text_of(b"x" * 32), "kid": "shared"},
            jwk("rsa1", use="enc"),
            jwk("rsa1", alg="RS512"),
            jwk("rsa1", kid=...),
            jwk("rsa1", kid=7),
            jwk("rsa1", n="not a number"),
            jwk("weak1"),
            jwk("ec384"),
            "a text",
        ],
    )
    def test_a_key_that_signs_no_token_here_is_passed_over(self, useless: Any) -> None:
        document = json.dumps({"keys": [useless, jwk("ec1")]}).encode()
        assert set(read_keys(document)) == {"ec1"}

    def test_the_first_of_two_keys_with_one_id_counts(self) -> None:
        document = json.dumps({"keys": [jwk("rsa1"), jwk("rsa2", kid="rsa1")]}).encode()
        assert read_keys(document)["rsa1"].key.key_id == "rsa1"
        assert read_keys(document)["rsa1"].key.key.public_numbers() == public_numbers("rsa1")

    @pytest.mark.parametrize("document", [b"", b"<html>", b"[]", b'{"keys": {}}', b"[" * 100_000, b"\xff"])
    async def test_what_is_no_key_set_gives_no_key(self, world: ManualWorld, document: bytes) -> None:
        async def fetch() -> bytes:
            return document

        with pytest.raises(KeySetUnavailableError):
            await KeySet("https://id.example/keys", fetch, world).key("rsa1")

    async def test_keys_are_fetched_once_for_many_tokens(self, tokens: ProviderTokens, address: Address) -> None:
        await asyncio.gather(*(tokens.verify(signed()) for _ in range(5)))
        assert address.asked == 1

    async def test_a_new_key_is_found_and_a_withdrawn_one_is_refused(
        self, tokens: ProviderTokens, address: Address, world: ManualWorld
    ) -> None:
        await tokens.verify(signed())
        address.keys = [jwk("rsa2")]
        world.seconds += RETRY_SECONDS
        await tokens.verify(signed("rsa2"))
        with pytest.raises(ForgedTokenError):
            await tokens.verify(signed())

    async def test_a_withdrawn_key_is_refused_when_the_keys_are_fetched_again(
        self, tokens: ProviderTokens, address: Address, world: ManualWorld
    ) -> None:
        await tokens.verify(signed())
        address.keys = [jwk("rsa2")]
        world.seconds += REFRESH_SECONDS
        await tokens.verify(signed())
        world.seconds += 1
        with pytest.raises(ForgedTokenError):
            await tokens.verify(signed())

    async def test_a_provider_that_hangs_keeps_nobody_waiting_whose_key_is_known(
        self, address: Address, world: ManualWorld
    ) -> None:
        may_answer, asked = asyncio.Event(), 0

        async def fetch() -> bytes:
            nonlocal asked
            asked += 1
            address.answers = asked != 2
            if asked > 2:
                await may_answer.wait()
            return await address.fetch()

        key_set = KeySet("https://id.example/keys", fetch, world)
        await key_set.key("rsa1")
        world.seconds += REFRESH_SECONDS + 1
        await key_set.key("rsa1")
        for _ in range(3):
            world.seconds += RETRY_SECONDS
            for _ in range(5):
                await asyncio.wait_for(key_set.key("rsa1"), 5)
        may_answer.set()
        address.keys = [jwk("rsa2")]
        await asyncio.gather(*world.tasks)
        assert asked == 3
        with pytest.raises(ForgedTokenError):
            await key_set.key("rsa1")
        address.keys = [jwk("ec1")]
        world.seconds += REFRESH_SECONDS + 1
        with pytest.raises(ForgedTokenError):
            await key_set.key("rsa2")

    async def test_unknown_keys_make_us_ask_at_most_once_a_minute(
        self, tokens: ProviderTokens, address: Address, world: ManualWorld
    ) -> None:
        for _ in range(3):
            for _ in range(20):
                with pytest.raises(ForgedTokenError):
                    await tokens.verify(signed("rsa2"))
            world.seconds += RETRY_SECONDS
        assert address.asked == 3

    async def test_the_last_keys_are_used_for_an_hour_while_the_address_is_silent(
        self, tokens: ProviderTokens, address: Address, world: ManualWorld
    ) -> None:
        await tokens.verify(signed())
        address.answers = False
        world.seconds = LONGEST_STALE_SECONDS
        await tokens.verify(signed())
        world.seconds += 1
        with pytest.raises(KeySetUnavailableError, match=r"https://id\.example/keys"):
            await tokens.verify(signed())
        address.answers = True
        world.seconds += RETRY_SECONDS
        await tokens.verify(signed())

    async def test_an_address_that_is_silent_is_asked_once_a_minute(
        self, tokens: ProviderTokens, address: Address, world: ManualWorld
    ) -> None:
        address.answers = False
        for _ in range(20):
            with pytest.raises(KeySetUnavailableError):
                await tokens.verify(signed())
        world.seconds += RETRY_SECONDS
        with pytest.raises(KeySetUnavailableError):
            await tokens.verify(signed())
        assert address.asked == 2


def public_numbers(name: str) -> Any:
    key: Any = private_key(name)
    return key.public_key().public_numbers()


@asynccontextmanager
async def http_server(answer: bytes) -> AsyncGenerator[str]:
    """Answer every request with the same bytes, on an address of this machine."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"


def answer_of(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def key_set_document() -> bytes:
    return json.dumps({"keys": [jwk("rsa1")]}).encode()


class TestOverHttp:
    @pytest.fixture
    def egress(self, world: ManualWorld) -> Egress:
        return Egress(world=world)

    async def verify(self, url: str, egress: Egress, world: ManualWorld) -> str:
        tokens = ProviderTokens.of(Settings(jwt_jwks_url=url, jwt_issuer=ISSUER), egress, world)
        assert tokens is not None
        return (await tokens.verify(signed())).subject

    async def test_the_operator_s_address_needs_no_permission_to_be_reached(
        self, egress: Egress, world: ManualWorld
    ) -> None:
        async with http_server(answer_of(key_set_document())) as url:
            assert await self.verify(url, egress, world) == "ada"

    @pytest.mark.parametrize(
        "answer",
        [
            answer_of(key_set_document(), b"500 Internal Server Error"),
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/keys\r\nContent-Length: 0\r\n\r\n",
            answer_of(key_set_document().ljust(MAX_BYTES + 1)),
            b"nonsense",
        ],
    )
    async def test_an_answer_that_is_no_key_set_gives_no_key(
        self, egress: Egress, world: ManualWorld, answer: bytes
    ) -> None:
        async with http_server(answer) as url:
            with pytest.raises(KeySetUnavailableError):
                await self.verify(url, egress, world)


def test_without_an_address_there_is_no_provider(world: ManualWorld) -> None:
    assert ProviderTokens.of(Settings(), Egress(world=world), world) is None


@pytest.mark.parametrize(
    ("url", "warned"),
    [("https://id.example/keys", False), ("http://127.0.0.1:8080/keys", False), ("http://id.example/keys", True)],
)
def test_keys_that_come_without_tls_from_elsewhere_are_warned_of(
    world: ManualWorld, caplog: pytest.LogCaptureFixture, url: str, *, warned: bool
) -> None:
    ProviderTokens.of(Settings(jwt_jwks_url=url, jwt_issuer=ISSUER), Egress(world=world), world)
    assert ("without TLS" in caplog.text) is warned
