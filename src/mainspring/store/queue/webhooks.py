"""Webhooks on completion: written to the outbox in the very transaction in which an execution ends."""

from __future__ import annotations

import hashlib
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from mainspring.domain.execution import Execution, Status
from mainspring.domain.job_object import event_of, job_json
from mainspring.domain.notification import Message, Severity
from mainspring.store.alerting import notifications
from mainspring.store.alerting.notifications import NewNotification
from mainspring.store.engine.lists import one_of
from mainspring.store.runs.execution_rows import from_history
from mainspring.store.tables import definitions, executions
from mainspring.world import uuid7

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

CHANNEL: Final = "webhook"

_ended = executions.c
_TO_BE_TOLD = (
    sa.select(executions, definitions.c.code)
    .outerjoin(
        definitions, sa.and_(definitions.c.environment == _ended.environment, definitions.c.name == _ended.job_name)
    )
    .where(one_of(_ended.id, "ids"), _ended.webhook_url.is_not(None))
    .order_by(_ended.environment, _ended.id)
)


def announce(connection: sa.Connection, ids: Collection[UUID]) -> None:
    """Write a notification for each of these executions that has ended and named a webhook.

    What it tells is the execution as it is now: a manual retry later on changes nothing of what was said. It costs two
    statements, however many there are.

    Args:
        connection: In the transaction that moved them into history.
        ids: Which executions.
    """
    if not ids:
        return
    rows = connection.execute(_TO_BE_TOLD, {"ids": ids}).all()
    for environment, of_environment in groupby(rows, key=lambda row: row.environment):
        notifications.enqueue(connection, environment, [_notification(row) for row in of_environment])


def _notification(row: Any) -> NewNotification:  # noqa: ANN401 - a row of either driver
    execution = from_history(row)
    sensitive = orjson.loads(row.code).get("sensitive", ()) if row.code is not None else ()
    return NewNotification(
        id=_id_of_end(execution.id, row.completed_at),
        channel=CHANNEL,
        message=_message(execution, sensitive),
        destination=row.webhook_url,
        organization_id=execution.organization_id,
        execution_id=execution.id,
    )


def _message(execution: Execution, sensitive: Collection[str]) -> Message:
    return Message(
        title=f"{execution.job_name} {execution.status}",
        severity=Severity.ERROR if execution.status is Status.FAILED else Severity.INFO,
        event=event_of(execution.status),
        data=job_json(execution, sensitive=sensitive),
    )


def _id_of_end(execution_id: UUID, completed_at: datetime) -> UUID:
    """Return the id of one end of an execution: it can end again, after a manual retry, and is told again then.

    Other than `derived_id` it sorts by the instant of the end, which may be weeks after that of the execution's id.
    """
    digest = hashlib.sha256(execution_id.bytes + completed_at.isoformat().encode()).digest()
    return uuid7(int(completed_at.timestamp() * 1000), int.from_bytes(digest[:10], "big"))
