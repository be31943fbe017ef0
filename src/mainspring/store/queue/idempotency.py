"""Asking twice with one key gives one execution."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.write_door import verbatim_json
from mainspring.errors import IdempotencyConflictError
from mainspring.store.engine.dialect import store_now
from mainspring.store.queue import enqueues
from mainspring.store.tables import idempotency_keys

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.domain.access import Actor
    from mainspring.store.queue.enqueues import NewExecution

_keys = idempotency_keys.c


def insert_once(
    connection: sa.Connection, actor: str, key: str, new: Sequence[NewExecution], *, said: Sequence[str] = ()
) -> list[UUID]:
    """Accept executions under an idempotency key, or return the ones that were accepted under it before.

    Args:
        connection: Where to run, in a transaction.
        actor: Whose key it is: two actors may use the same one.
        key: The key.
        new: The executions; each has its place under the key.
        said: What the request says beside jobs and payloads; the same request again says the same.

    Raises:
        IdempotencyConflictError: The key was used for another request.
    """
    return [
        _insert_one(connection, actor, key if place == 0 else f"{key}#{place}", item, said)
        for place, item in enumerate(new)
    ]


def _insert_one(connection: sa.Connection, actor: str, key: str, item: NewExecution, said: Sequence[str]) -> UUID:
    # Keys from before options counted still hold for requests that say none.
    options = f"|{verbatim_json(list(said))}" if said else ""
    fingerprint = hashlib.sha256(f"{item.job_name}|{item.payload}{options}".encode()).hexdigest()
    before = claim(connection, item.environment, actor, key, fingerprint=fingerprint, execution_id=item.id)
    return enqueues.insert(connection, [item])[0] if before is None else before


def claim_request(
    connection: sa.Connection, actor: Actor, key: str | None, request: Sequence[object], execution_id: UUID
) -> UUID | None:
    """Take a key for what somebody asks of the platform, or return the execution that it was taken for before.

    Args:
        connection: In the transaction that accepts the request.
        actor: Who asks, and whose key it is.
        key: The key; None: the request has none, and is always a new one.
        request: What it says, in JSON; the same request again is one that says the same.
        execution_id: What it asks for.

    Raises:
        IdempotencyConflictError: The actor has used the key for another request.
    """
    if key is None:
        return None
    fingerprint = hashlib.sha256(verbatim_json(list(request)).encode()).hexdigest()
    owner = verbatim_json([actor.organization_id, actor.subject])
    return claim(connection, actor.environment, owner, key, fingerprint=fingerprint, execution_id=execution_id)


def claim(
    connection: sa.Connection, environment: str, actor: str, key: str, *, fingerprint: str, execution_id: UUID
) -> UUID | None:
    """Take a key for a request, or return the execution that it was taken for before.

    Args:
        connection: In the transaction that accepts the request.
        environment: The environment.
        actor: Whose key it is.
        key: The key.
        fingerprint: Equal for the same request.
        execution_id: What the request asks for.

    Raises:
        IdempotencyConflictError: The key was used for another request.
    """
    entry = {"environment": environment, "actor": actor, "key": key}
    # The insert waits for a concurrent one of the same key, so that two requests at once get one execution.
    inserted = connection.execute(
        _insert_ignoring(connection).values(
            **entry, fingerprint=fingerprint, execution_id=execution_id, created_at=store_now()
        )
    ).rowcount
    if inserted:
        return None
    before = connection.execute(
        sa.select(idempotency_keys).where(*(_keys[name] == value for name, value in entry.items()))
    ).one()
    if before.fingerprint != fingerprint:
        raise IdempotencyConflictError(
            f"the idempotency key {key!r} was used for another request (execution {before.execution_id}): "
            "take a new one"
        )
    return before.execution_id


def _insert_ignoring(connection: sa.Connection) -> sa.Insert:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(idempotency_keys).on_conflict_do_nothing()
