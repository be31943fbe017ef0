"""Tokens that show that a request which changes something comes from a page of ours (CSRF)."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from mainspring.errors import MainspringError
from mainspring.security.secret_key import Purpose
from mainspring.web.services import CSRF_CONTEXT

if TYPE_CHECKING:
    from fastapi import Request

    from mainspring.web.services import Services

CSRF_FIELD: Final = "csrf_token"
CSRF_HEADER: Final = "x-csrf-token"
_MASK_BYTES: Final = 32


class ForgedRequestError(MainspringError):
    """A request that changes something did not come from a page of ours."""

    code = "CSRF_TOKEN_INVALID"


def csrf_token(services: Services, session_id: str) -> str:
    """Return what forms of a session carry: nobody who does not know the session's id can make it.

    It is masked anew in each answer: answers are compressed, and how well would otherwise tell of a token that never
    changes, guess by guess (BREACH).
    """
    mask = hashlib.sha256(services.app.world.token().encode()).digest()
    return (mask + _masked(mask, _proof(services, session_id))).hex()


def _proof(services: Services, session_id: str) -> bytes:
    key = services.secret_key.derive(Purpose.TICKET, CSRF_CONTEXT)
    return hmac.digest(key, session_id.encode("utf-8", "surrogatepass"), "sha256")


def _masked(mask: bytes, value: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(mask, value, strict=True))


def _is_of_session(services: Services, session_id: str, given: str) -> bool:
    try:
        token = bytes.fromhex(given)
    except ValueError:
        return False
    mask, masked = token[:_MASK_BYTES], token[_MASK_BYTES:]
    if len(masked) != _MASK_BYTES:
        return False
    return hmac.compare_digest(_masked(mask, masked), _proof(services, session_id))


async def require_own_form(request: Request, services: Services, session_id: str) -> None:
    """Refuse a request that does not carry a token of a session, as a header or as a field of its form.

    Args:
        request: What would change something.
        services: The services behind the pages.
        session_id: The session, or what a browser has before anybody signs in.

    Raises:
        ForgedRequestError: It does not.
    """
    given: object = request.headers.get(CSRF_HEADER)
    if given is None and request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        given = (await request.form()).get(CSRF_FIELD)
    if not isinstance(given, str) or not _is_of_session(services, session_id, given):
        raise ForgedRequestError("this form is not of your present session: load the page again, and send it once more")
