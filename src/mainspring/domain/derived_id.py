"""Ids that follow from other ids, so that doing something again finds what was done before."""

from __future__ import annotations

import hashlib
from typing import Final
from uuid import UUID

_TIME_BYTES: Final = 6


def derived_id(source: UUID, purpose: str) -> UUID:
    """Return the one id that a thing of this purpose has for a source: always the same, and like no other.

    It is of version 8 (RFC 9562 §5.8) and keeps the instant of a source of version 7, so that both sort alike.

    Args:
        source: What it follows from, for instance the id of an execution.
        purpose: What it is the id of, for instance `notification`.

    Example:
        >>> source = UUID("01a201ed-4cfe-7a4c-950b-389f5b3f087b")
        >>> derived_id(source, "notification")
        UUID('01a201ed-4cfe-8d1c-bd2d-27fec88dc979')
    """
    digest = hashlib.sha256(purpose.encode() + b"\x00" + source.bytes).digest()
    made = bytearray(source.bytes[:_TIME_BYTES] + digest[: 16 - _TIME_BYTES])
    made[6] = 0x80 | made[6] & 0x0F
    made[8] = 0x80 | made[8] & 0x3F
    return UUID(bytes=bytes(made))
