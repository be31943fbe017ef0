"""Tokens of callbacks: by them a service proves that an attempt is its own, which is one execution and one fence.

A token is the fence and a MAC over it, by a key that is derived for the execution: nothing is stored, and whoever holds
one can say nothing about any other attempt.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import TYPE_CHECKING, Final

from mainspring.security.authentication import AuthenticationError
from mainspring.security.secret_key import Purpose

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.security.secret_key import SecretKey

_FORM: Final = re.compile(r"([0-9]{1,19})\.[A-Za-z0-9_-]{43}")


def callback_token(secret_key: SecretKey, execution_id: UUID, fence: int) -> str:
    """Return the token of one attempt.

    Example:
        >>> from uuid import UUID
        >>> from mainspring.security.secret_key import SecretKey
        >>> callback_token(SecretKey(b"0123456789abcdef0123456789abcdef"), UUID(int=1), 7)[:2]
        '7.'
    """
    key = secret_key.derive(Purpose.CALLBACK, str(execution_id))
    mac = base64.urlsafe_b64encode(hmac.digest(key, str(fence).encode(), "sha256"))
    return f"{fence}.{mac.decode().rstrip('=')}"


def fence_of(secret_keys: Sequence[SecretKey], execution_id: UUID, token: str) -> int:
    """Return the fence that a token holds for.

    Args:
        secret_keys: Those in force: one, or two while one replaces the other.
        execution_id: The execution that it is shown for.
        token: What was shown.

    Raises:
        AuthenticationError: It is no token of this execution.
    """
    form = _FORM.fullmatch(token)
    holds = False
    if form is not None:
        # All are compared, each in constant time: how long it takes tells nothing about what is right.
        for secret_key in secret_keys:
            right = callback_token(secret_key, execution_id, int(form[1]))
            holds |= hmac.compare_digest(right.encode(), token.encode())
    if form is None or not holds:
        raise AuthenticationError(
            "this is no token of this execution: send the `callback.token` that came with the call, as a bearer token"
        )
    return int(form[1])
