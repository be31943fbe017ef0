"""Retirement: jobs that are in nobody's code any more stop, keep their records, and come back with the code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.code_version import is_older
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.scheduling import schedules
from mainspring.store.tables import definitions

if TYPE_CHECKING:
    from collections.abc import Collection


def retire_others(
    connection: sa.Connection,
    environment: str,
    application: str | None,
    names: Collection[str],
    version: str | None = None,
) -> list[str]:
    """Retire the jobs that an application declares no more, and return their names.

    Jobs of other applications and of services are left alone, and so is what newer code of this one has declared. An
    older build does not bring back what a newer one has retired.

    Args:
        connection: Where to run, in a transaction.
        environment: The environment.
        application: Which application; None: those that have no name.
        names: All that it declares.
        version: The version of its code.
    """
    found = connection.execute(_OF_APPLICATION, {"environment": environment, "b_application": application})
    gone = [row.name for row in found if row.name not in names and not is_older(version, row.code_version)]
    if not gone:
        return []
    values = {"b_environment": environment, "names": gone, "b_version": version}
    retired = sorted(connection.execute(_RETIRE, values).scalars())
    schedules.retire(connection, environment, retired)
    return retired


_OF_APPLICATION = sa.select(definitions.c.name, definitions.c.code_version).where(
    definitions.c.environment == sa.bindparam("environment"),
    definitions.c.application.is_not_distinct_from(sa.bindparam("b_application", type_=sa.Text())),
    definitions.c.service_name.is_(None),
    definitions.c.retired_at.is_(None),
)
_RETIRE = (
    sa.update(definitions)
    .where(
        definitions.c.environment == sa.bindparam("b_environment"),
        one_of(definitions.c.name, "names"),
        definitions.c.service_name.is_(None),
        definitions.c.retired_at.is_(None),
    )
    .values(
        retired_at=store_now(),
        updated_at=store_now(),
        version=definitions.c.version + 1,
        code_version=sa.func.coalesce(sa.bindparam("b_version", type_=sa.Text()), definitions.c.code_version),
    )
    .returning(definitions.c.name)
)
