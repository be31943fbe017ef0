"""The client against real receivers on loopback: pinned, patient for so long, never carried away (S24 to S27, S30)."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring.egress.client import Answer, Egress
from mainspring.errors import (
    EgressFailedError,
    EgressRefusedError,
    EgressUnreachableError,
    PermanentError,
    TransientError,
)
from mainspring.world import RealWorld
from tests.egress.conftest import CERTIFICATE, answer, hang

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.egress.conftest import Receivers

SECRET_PATH = "/services/T0/B0/canary-of-the-path"
SOON = timedelta(seconds=0.2)


async def test_the_answer_is_status_headers_and_body(receive: Receivers, loopback: Egress) -> None:
    receiver = await receive(answer(b"made", status="201 Created", headers=["Retry-After: 7"]))
    got = await loopback.request("POST", receiver.url("/hook?a=b"), body=b'{"x": 1}', headers={"X-Id": "1"})

    assert (got.status, got.body, got.truncated, got.is_success) == (201, b"made", False, True)
    assert got.retry_after(datetime.now(UTC)) == timedelta(seconds=7)  # noqa: TID251
    request = receiver.requests[0]
    assert request.startswith(b"POST /hook?a=b HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{receiver.port}\r\n".encode() in request
    assert b"\r\nX-Id: 1\r\n" in request
    assert request.endswith(b'\r\n\r\n{"x": 1}')


async def test_a_name_is_looked_up_once_and_the_checked_address_is_the_one_that_is_called(receive: Receivers) -> None:
    receiver = await receive(answer())
    asked: list[str] = []

    async def flip(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    egress = Egress(["127.0.0.1"], world=RealWorld(), resolve=flip)
    got = await egress.request("GET", receiver.url(host="rebind.example"))

    assert got.status == 200
    assert asked == ["rebind.example"]
    assert f"\r\nHost: rebind.example:{receiver.port}\r\n".encode() in receiver.requests[0]


async def test_a_name_that_flips_to_the_inside_between_two_requests_is_refused_at_the_second(
    receive: Receivers,
) -> None:
    receiver = await receive(answer())
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])

    async def flip(_host: str, _port: int) -> Sequence[str]:
        return next(answers)

    egress = Egress(["127.0.0.1"], world=RealWorld(), resolve=flip)
    assert (await egress.request("GET", receiver.url(host="rebind.example"))).status == 200
    with pytest.raises(EgressRefusedError):
        await egress.request("GET", receiver.url(host="rebind.example"))
    assert len(receiver.requests) == 1


async def test_the_next_address_is_tried_where_one_takes_no_connection(receive: Receivers) -> None:
    receiver = await receive(answer())

    async def two(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.9", "127.0.0.1"]

    egress = Egress(["127.0.0.0/8"], world=RealWorld(), resolve=two)
    assert (await egress.request("GET", receiver.url(host="two.example"))).status == 200


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_an_answer_that_nobody_follows(status: str, receive: Receivers, loopback: Egress) -> None:
    inside = await receive(answer(b"credentials"))
    receiver = await receive(answer(b"", status=status, headers=[f"Location: {inside.url('/latest/meta-data/')}"]))
    got = await loopback.request("GET", receiver.url())

    assert str(got.status) == status[:3]
    assert inside.requests == []


async def test_a_receiver_that_never_answers_costs_the_deadline_and_no_more(
    receive: Receivers, loopback: Egress
) -> None:
    receiver = await receive(hang)
    with pytest.raises(EgressFailedError, match=r"did not answer within 0\.2 s"):
        await loopback.request("POST", receiver.url(SECRET_PATH), deadline=SOON)


async def test_a_receiver_that_drips_its_answer_meets_the_same_deadline(receive: Receivers, loopback: Egress) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await RealWorld().sleep(0.01)  # each byte comes well within any time-out for one read

    receiver = await receive(drip)
    with pytest.raises(EgressFailedError, match="did not answer within"):
        await loopback.request("GET", receiver.url(), deadline=SOON)


async def test_a_name_that_resolves_slowly_meets_the_same_deadline() -> None:
    async def never(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(EgressFailedError, match="did not answer within"):
        await Egress(world=RealWorld(), resolve=never).request("GET", "http://slow.example/", deadline=SOON)


async def test_of_an_answer_without_end_the_beginning_is_kept(receive: Receivers, loopback: Egress) -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            sent += 65_536
            await writer.drain()

    receiver = await receive(flood)
    got = await loopback.request("GET", receiver.url(), max_body_bytes=1_000)

    assert got.truncated
    assert got.body == b"x" * 1_000
    assert sent < 50_000_000


async def test_a_packed_answer_is_never_unpacked(receive: Receivers, loopback: Egress) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    receiver = await receive(answer(bomb, headers=["Content-Encoding: gzip"]))
    got = await loopback.request("GET", receiver.url())

    assert got.body == bomb
    assert b"\r\nAccept-Encoding: identity\r\n" in receiver.requests[0]


async def test_headers_without_end_are_refused(receive: Receivers, loopback: Egress) -> None:
    receiver = await receive(answer(headers=[f"X-{number}: {'y' * 1000}" for number in range(2_000)]))
    with pytest.raises(EgressFailedError, match="something that is not HTTP"):
        await loopback.request("GET", receiver.url())


async def test_what_is_not_http_is_told_as_such(receive: Receivers, loopback: Egress) -> None:
    async def greet(writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await writer.drain()

    receiver = await receive(greet)
    with pytest.raises(EgressFailedError, match="something that is not HTTP"):
        await loopback.request("GET", receiver.url())


@pytest.mark.parametrize("said", [b"", b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"success": tr'])
async def test_a_connection_that_ends_too_soon_is_told_as_such(
    receive: Receivers, loopback: Egress, said: bytes
) -> None:
    async def die(writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    receiver = await receive(die)
    with pytest.raises(EgressFailedError, match="broke the connection off") as refusal:
        await loopback.request("GET", receiver.url())
    assert not isinstance(refusal.value, EgressUnreachableError), "it was sent, and may have been done"


async def test_what_nobody_took_is_told_from_what_nobody_answered(loopback: Egress) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(EgressUnreachableError, match="took no connection"):
            await loopback.request("GET", f"http://127.0.0.1:{taken.getsockname()[1]}/")


async def test_a_name_may_be_looked_for_no_longer_than_the_connection_may_take() -> None:
    async def never(_host: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    egress = Egress(world=RealWorld(), resolve=never)
    with pytest.raises(EgressUnreachableError, match="has no address"):
        await egress.request(
            "GET", "http://slow.example/", deadline=timedelta(seconds=30), connect_within=timedelta(seconds=0.05)
        )


async def test_proxies_and_credentials_of_the_environment_are_ignored(
    receive: Receivers, loopback: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, proxy = await receive(answer(b"receiver")), await receive(answer(b"proxy"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url())
    assert (await loopback.request("GET", receiver.url())).body == b"receiver"
    assert proxy.requests == []


async def test_no_cookie_of_one_receiver_is_kept(receive: Receivers, loopback: Egress) -> None:
    receiver = await receive(answer(headers=["Set-Cookie: session=1"]))
    for _ in range(2):
        await loopback.request("GET", receiver.url())
    assert b"ookie" not in receiver.requests[1]


async def test_an_https_receiver_is_known_by_its_name_at_the_pinned_address(receive: Receivers) -> None:
    receiver = await receive(answer(b"private"), tls=True)

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    egress = Egress(["127.0.0.1"], world=RealWorld(), resolve=resolve, tls=trusting)

    assert (await egress.request("GET", receiver.url(host="receiver.test", scheme="https"))).body == b"private"
    with pytest.raises(EgressFailedError, match="no certificate that holds for this name"):
        await egress.request("GET", receiver.url(host="other.test", scheme="https"))


async def test_the_operator_may_name_any_address(receive: Receivers) -> None:
    receiver = await receive(answer())
    egress = Egress(world=RealWorld())
    assert (await egress.request("GET", receiver.url(host="localhost"), set_by_operator=True)).status == 200
    with pytest.raises(EgressRefusedError):
        await egress.request("GET", receiver.url())


@pytest.mark.parametrize("behaviour", [hang, None], ids=["hangs", "is down"])
async def test_the_path_of_a_url_stands_in_no_message_and_no_log(
    behaviour: object, receive: Receivers, loopback: Egress, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = (await receive(hang)).url(SECRET_PATH) if behaviour else f"http://127.0.0.1:1{SECRET_PATH}"
    with pytest.raises(EgressFailedError) as failed:
        await loopback.request("POST", url, deadline=SOON)
    good = await receive(answer())
    await loopback.request("POST", good.url(SECRET_PATH))

    assert "canary" not in str(failed.value)
    assert failed.value.__cause__ is None
    assert "canary" not in caplog.text


async def test_a_refusal_is_permanent_and_a_silence_passes(loopback: Egress) -> None:
    with pytest.raises(PermanentError):
        await loopback.request("GET", "http://10.0.0.1/")
    with pytest.raises(TransientError):
        await loopback.request("GET", "http://127.0.0.1:1/")


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        ("120", 120),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("99999999999999999999", 999_999_999),
        ("-5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_an_instant(said: str, wait: float | None) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    got = Answer(429, {"retry-after": said}, b"", truncated=False).retry_after(now)
    assert (got and got.total_seconds()) == (wait if wait != 0 else timedelta(0))
