"""Our signatures are those of Standard Webhooks: an implementation that shares no code with ours says so (S29)."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from mainspring.domain.webhook_signature import TOLERANCE, new_secret, sign, verify
from mainspring.errors import ConfigurationError, WebhookSignatureError
from mainspring.world import RealWorld

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NEW = new_secret(b"the new secret of the tests")
OLD = new_secret(b"the old secret of the tests")
BODY = b'{"type": "test", "text": "\xc3\xa9"}'


@given(secret=st.binary(min_size=24, max_size=64), body=st.dictionaries(st.text(), st.integers()), identity=st.uuids())
def test_the_reference_implementation_accepts_what_we_sign(
    secret: bytes, body: dict[str, int], identity: object
) -> None:
    payload = json.dumps(body).encode()
    headers = sign([new_secret(secret)], str(identity), RealWorld().now(), payload)
    assert Webhook(new_secret(secret)).verify(payload, headers) == body


@given(secret=st.binary(min_size=24, max_size=64), body=st.text())
def test_we_accept_what_the_reference_implementation_signs(secret: bytes, body: str) -> None:
    signature = Webhook(new_secret(secret)).sign("msg_1", NOW, body)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": signature,
    }
    assert verify([new_secret(secret)], headers, body.encode(), NOW) == "msg_1"


def test_while_a_secret_is_replaced_receivers_of_both_accept() -> None:
    now = RealWorld().now()
    headers = sign([NEW, OLD], "msg_1", now, BODY)
    for secret in (NEW, OLD):
        Webhook(secret).verify(BODY, headers)
        assert verify([secret], headers, BODY, now) == "msg_1"
    assert verify([NEW, OLD], sign([OLD], "msg_2", now, BODY), BODY, now) == "msg_2"
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret(b"x" * 24)).verify(BODY, headers)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(int(NOW.timestamp()) + 1)},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,\u00e9"},
        {"webhook-signature": "v2,{}"},
        {"webhook-signature": ""},
        {"webhook-id": ""},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "\u0661\u0662"},
        {"webhook-timestamp": "9" * 400},
    ],
)
def test_a_message_that_was_changed_is_refused(changed: dict[str, str]) -> None:
    headers = sign([NEW], "msg_1", NOW, BODY)
    right = headers["webhook-signature"].partition(",")[2]
    with pytest.raises(WebhookSignatureError):
        verify([NEW], headers | {name: value.replace("{}", right) for name, value in changed.items()}, BODY, NOW)


def test_the_body_is_verified_byte_by_byte() -> None:
    headers = sign([NEW], "msg_1", NOW, BODY)
    with pytest.raises(WebhookSignatureError, match="byte by byte"):
        verify([NEW], headers, json.dumps(json.loads(BODY)).encode(), NOW)


@pytest.mark.parametrize("by", [TOLERANCE + timedelta(seconds=1), -TOLERANCE - timedelta(seconds=1)])
def test_a_message_of_another_time_is_refused(by: timedelta) -> None:
    headers = sign([NEW], "msg_1", NOW, BODY)
    assert verify([NEW], headers, BODY, NOW + by * 0.99) == "msg_1"
    with pytest.raises(WebhookSignatureError, match="0:05:00"):
        verify([NEW], headers, BODY, NOW + by)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_!", new_secret(b"x" * 23), base64.b64encode(b"x" * 65).decode()]
)
def test_a_secret_that_guards_nothing_is_refused(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="whsec_"):
        sign([secret], "msg_1", NOW, BODY)


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(ConfigurationError, match="no secret"):
        sign([], "msg_1", NOW, BODY)
