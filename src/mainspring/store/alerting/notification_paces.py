"""The pace of organizations: what is due of one above its rate is put off, so that none floods the outbox.

It is put off when it comes due, and not when it is written, so that ends of jobs wait for nothing; and before anything
is claimed, so that ten thousand webhooks of one organization are no longer due when others are looked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.domain.pace import Pace
from mainspring.store.engine.dialect import present_instant, store_now, store_now_plus
from mainspring.store.tables import notifications

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.domain.rate import Rate

_MOST_PUT_OFF: Final = 5_000
"""Of one organization in one turn; the next turn goes on."""

_c = notifications.c
_IN_ENVIRONMENT: Final = _c.environment == sa.bindparam("b_environment")
_OF_ONE: Final = sa.and_(_IN_ENVIRONMENT, _c.organization_id == sa.bindparam("b_organization"))
_IS_PENDING: Final = _c.status == sa.literal_column("'pending'")
_IS_DUE: Final = sa.and_(
    _IS_PENDING, _c.available_at <= store_now(), sa.func.coalesce(_c.lease_until <= store_now(), sa.true())
)
_PERIOD: Final[sa.ColumnElement[float]] = sa.bindparam("b_period", type_=sa.Double())
_WITH_SOMETHING_DUE: Final = (
    sa.select(_c.organization_id, sa.func.count().label("due"))
    .where(_IN_ENVIRONMENT, _IS_DUE, _c.organization_id.is_not(None))
    .group_by(_c.organization_id)
)
_TRIED: Final = (
    sa.select(_c.tried_at)
    .where(_OF_ONE, _c.tried_at > store_now_plus(-_PERIOD))
    .order_by(_c.tried_at.desc())
    .limit(sa.bindparam("b_count", type_=sa.Integer()))
)
_DUE: Final = (
    sa.select(_c.id)
    .where(_OF_ONE, _IS_DUE)
    .order_by(_c.available_at, _c.id)
    .limit(_MOST_PUT_OFF)
    .with_for_update(skip_locked=True)
)
_PUT_OFF: Final = (
    sa.update(notifications)
    .where(_c.id == sa.bindparam("b_id", type_=_c.id.type))
    .values(available_at=sa.bindparam("b_at", type_=_c.available_at.type))
)


def put_off(connection: sa.Connection, environment: str, rate: Rate) -> int:
    """Put off what is due of organizations above their rate, and return how much that was.

    Tries count, whatever came of them: a receiver that refuses everything is asked no more often than one that is well.
    Two nodes that look at the same instant may each let a few through.

    Args:
        connection: In the transaction of the claim, before it.
        environment: The environment.
        rate: How many tries an organization has in which period.
    """
    count = 0
    for organization, due in connection.execute(_WITH_SOMETHING_DUE, {"b_environment": environment}).all():
        wanted = {"b_environment": environment, "b_organization": organization}
        window = {"b_period": rate.period.total_seconds(), "b_count": rate.count}
        tried = connection.execute(_TRIED, wanted | window).scalars().all()
        if len(tried) + due > rate.count:
            ids = connection.execute(_DUE, wanted).scalars().all()
            count += _spread(connection, ids, Pace(rate, tried))
    return count


def _spread(connection: sa.Connection, ids: Sequence[UUID], pace: Pace) -> int:
    """Give what is due its instants, the oldest first; return how many of them are later than now."""
    now = present_instant(connection)
    later = [{"b_id": each, "b_at": at} for each in ids if (at := pace.next_from(now)) > now]
    if later:
        connection.execute(_PUT_OFF, later)
    return len(later)
