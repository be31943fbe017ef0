"""Signatures of webhooks, by the specification Standard Webhooks 1.0.0 (symmetric, version `v1`).

The signed content is `id.timestamp.body`, so that neither can be exchanged and an old one cannot be sent again. Several
secrets sign at once while one replaces another: the receiver accepts a message if any signature holds.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from mainspring.errors import ConfigurationError, WebhookSignatureError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix that the specification gives to secrets
TOLERANCE: Final = timedelta(minutes=5)
_VERSION: Final = "v1"
_LEAST_SECRET_BYTES: Final = 24
_MOST_SECRET_BYTES: Final = 64
_MOST_SIGNATURES: Final = 10


def new_secret(random_bytes: bytes) -> str:
    """Return 24 to 64 random bytes in the form in which people hand secrets over: `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(random_bytes).decode()


def sign(secrets: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers that go with a message.

    Args:
        secrets: At least one, `whsec_…`; while a secret is being replaced the new one and the old one.
        message_id: Equal for each try at the same message: by it the receiver knows what it has seen.
        at: Now.
        body: Exactly the bytes that are sent.

    Raises:
        ConfigurationError: There is no secret, or one cannot be read.

    Example:
        >>> from datetime import UTC, datetime
        >>> secret = new_secret(b"0123456789abcdefghijklmn")
        >>> sign([secret], "msg_1", datetime(2026, 1, 1, tzinfo=UTC), b"{}")["webhook-timestamp"]
        '1767225600'
    """
    if not secrets:
        raise ConfigurationError(
            "there is no secret to sign a webhook with: make one with `mainspring notifications secret`"
        )
    timestamp = str(int(at.timestamp()))
    signatures = (f"{_VERSION},{_signature(secret, message_id, timestamp, body)}" for secret in secrets)
    return {ID_HEADER: message_id, TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: " ".join(signatures)}


@dataclass(frozen=True, slots=True)
class SignedHeaders:
    """What the headers of a signed message say; until `verify` has seen the body, nobody knows whether it is true.

    Attributes:
        message_id: Equal for each try at the same message.
        timestamp: When it was signed, in seconds since 1970, as it was written.
        signatures: In base64, those of the version that is read here.
    """

    message_id: str
    timestamp: str
    signatures: Sequence[str]

    @property
    def signed_at(self) -> datetime:
        """When it was signed, to the second."""
        return datetime.fromtimestamp(int(self.timestamp), UTC)


def read_headers(headers: Mapping[str, str], now: datetime) -> SignedHeaders:
    """Read the headers of a message, which is enough to refuse most of what is not ours before its body is read.

    Args:
        headers: Of the request, by name in lower case.
        now: The present instant.

    Raises:
        WebhookSignatureError: It is not signed, or was not within five minutes of now.
    """
    message_id, timestamp, signatures = (
        headers.get(name, "") for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)
    )
    if not (message_id and signatures and timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12):  # noqa: PLR2004 - seconds
        raise WebhookSignatureError(
            f"the request is not signed: the headers {ID_HEADER}, {TIMESTAMP_HEADER} and {SIGNATURE_HEADER} are needed"
        )
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        raise WebhookSignatureError(
            f"the request was signed more than {TOLERANCE} ago, or in the future: sign it anew, and check both clocks"
        )
    given = [
        text.partition(",")[2] for text in signatures.split()[:_MOST_SIGNATURES] if text.startswith(f"{_VERSION},")
    ]
    return SignedHeaders(message_id, timestamp, given)


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """Check that a message was signed with one of the secrets, within five minutes of now.

    Args:
        secrets: Those in force: one, or two while one is being replaced.
        headers: Of the request, by name in lower case.
        body: Its body, exactly as it came.
        now: The present instant.

    Returns:
        The message's id; whoever must not act twice on it keeps the ids of the last ten minutes.

    Raises:
        WebhookSignatureError: It was not signed so, or not lately.
        ConfigurationError: A secret cannot be read.
    """
    said = read_headers(headers, now)
    # Every pair is compared, each in constant time: how long it takes tells nothing about what is right.
    holds = False
    for secret in secrets:
        right = _signature(secret, said.message_id, said.timestamp, body).encode()
        for signature in said.signatures:
            holds |= hmac.compare_digest(right, signature.encode())
    if not holds:
        raise WebhookSignatureError(
            "no signature of the request holds: check the secret, and verify the body as it came, byte by byte"
        )
    return said.message_id


def _signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    content = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(_key_of(secret), content, "sha256")).decode()


def _key_of(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not _LEAST_SECRET_BYTES <= len(key) <= _MOST_SECRET_BYTES:
        raise ConfigurationError(
            f"a webhook's secret is `{SECRET_PREFIX}` and {_LEAST_SECRET_BYTES} to {_MOST_SECRET_BYTES} bytes in "
            "base64; make one with `mainspring notifications secret`"
        )
    return key
