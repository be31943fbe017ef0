"""The header `Idempotency-Key`, which every route takes that creates something (contract §6)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Sending a request again with the same key returns what the first one created.",
    ),
]
