"""What admins put in the place of what code says of a job: retries, timeout, thresholds, configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import definitions

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class StoredPolicies:
    """How a job is run and watched.

    Attributes:
        code: What code says, by the names of `JobDefinition`; durations in seconds.
        override: What admins put in its place, in the same names.
        config: What code configures.
        version: Grows with each change of the definition.
        is_remote: Whether a service carries it out.
    """

    code: Mapping[str, Any]
    override: Mapping[str, Any]
    config: Mapping[str, Any]
    version: int
    is_remote: bool

    def in_force(self, name: str) -> Any:  # noqa: ANN401 - whatever the policy is
        """Return one policy as it is in force."""
        if name == "config":
            return {**self.config, **self.override.get("config", {})}
        return self.override.get(name, self.code.get(name))


_key = (definitions.c.environment == sa.bindparam("b_environment"), definitions.c.name == sa.bindparam("b_name"))
_LOCK = (
    sa.select(
        definitions.c.code,
        definitions.c.override,
        definitions.c.config,
        definitions.c.version,
        definitions.c.service_name,
    )
    .where(*_key)
    .with_for_update()
)
_WRITE = (
    sa.update(definitions)
    .where(*_key)
    .values(
        override=sa.bindparam("b_override", type_=sa.Text()),
        version=definitions.c.version + 1,
        updated_at=store_now(),
    )
)
_OVERRIDDEN = sa.select(definitions.c.name, definitions.c.override).where(
    definitions.c.environment == sa.bindparam("b_environment"), definitions.c.override.is_not(None)
)


def lock(connection: sa.Connection, environment: str, name: str) -> StoredPolicies | None:
    """Return the policies of a job and keep them until the transaction ends; None: there is no such job."""
    row = connection.execute(_LOCK, {"b_environment": environment, "b_name": name}).first()
    if row is None:
        return None
    return StoredPolicies(
        code=orjson.loads(row.code),
        override=orjson.loads(row.override or "{}"),
        config=orjson.loads(row.config or "{}"),
        version=row.version,
        is_remote=row.service_name is not None,
    )


def write(connection: sa.Connection, environment: str, name: str, override: Mapping[str, Any]) -> None:
    """Put other policies in the place of what code says."""
    text = orjson.dumps(override).decode() if override else None
    connection.execute(_WRITE, {"b_environment": environment, "b_name": name, "b_override": text})


def overridden(connection: sa.Connection, environment: str) -> dict[str, Mapping[str, Any]]:
    """Return what admins put in the place of what code says, of each job that this was done to."""
    rows = connection.execute(_OVERRIDDEN, {"b_environment": environment})
    return {row.name: orjson.loads(row.override) for row in rows}
