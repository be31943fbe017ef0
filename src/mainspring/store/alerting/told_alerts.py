"""What was decided about telling alerts, as it is kept with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.tables import alerts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

_c = alerts.c


@dataclass(frozen=True, slots=True)
class Told:
    """What was decided about telling an alert.

    Attributes:
        id: The alert.
        is_told: Whether people know that it is open from now on; None: as before.
        held_by: Why nobody is told.
        next_step_in: Seconds until its next step; None: there is none.
        escalation: Steps of its escalation that have been told.
    """

    id: UUID
    is_told: bool | None
    held_by: str | None
    next_step_in: float | None
    escalation: int


_TELLING: Final = sa.bindparam("b_telling", type_=sa.Text())
_TOLD: Final = (
    sa.update(alerts)
    .where(_c.id == sa.bindparam("b_id", type_=_c.id.type))
    .values(
        told_at=sa.case(
            (sa.literal_column("'yes'") == _TELLING, store_now()),
            (sa.literal_column("'no'") == _TELLING, sa.null()),
            else_=_c.told_at,
        ),
        held_by=sa.bindparam("b_held_by", type_=sa.Text()),
        next_step_at=store_now_plus(sa.bindparam("b_in", type_=sa.Double())),
        escalation=sa.bindparam("b_escalation", type_=sa.Integer()),
    )
)
_TELLING_WORDS: Final[Mapping[bool | None, str]] = {True: "yes", False: "no", None: "as before"}


def write_told(connection: sa.Connection, told: Sequence[Told]) -> None:
    """Write down what people were told."""
    rows = [
        {
            "b_id": item.id,
            "b_telling": _TELLING_WORDS[item.is_told],
            "b_held_by": item.held_by,
            "b_in": item.next_step_in,
            "b_escalation": item.escalation,
        }
        for item in told
    ]
    if rows:
        connection.execute(_TOLD, rows)
