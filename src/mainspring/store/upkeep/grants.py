"""What a node's role needs on PostgreSQL: to read and write rows, and nothing that changes tables."""

from __future__ import annotations

from sqlalchemy.dialects import postgresql

_APPENDED_ONLY = ("audit_entries", "audit_seals")
_READ_ONLY = ("mainspring_version",)


def grants_for(role: str, schema: str) -> list[str]:
    """Return the statements that let a role run nodes; the owner of the schema executes them after each upgrade.

    The role can neither create nor drop tables, nor change or remove what the audit holds. Weeks of history are made
    and dropped for it by two functions that run with the owner's rights.

    Args:
        role: The role of the nodes; it must exist.
        schema: The schema, as in `MAINSPRING_DATABASE_SCHEMA`.

    Example:
        >>> grants_for("worker", "mainspring")[0]
        'grant usage on schema mainspring to worker'
    """
    quote = postgresql.dialect().identifier_preparer.quote
    to, inside = quote(role), quote(schema)
    return [
        f"grant usage on schema {inside} to {to}",
        f"grant select, insert, update, delete on all tables in schema {inside} to {to}",
        *(f"revoke update, delete, truncate on {inside}.{table} from {to}" for table in _APPENDED_ONLY),
        f"revoke update on {inside}.audit_unsealed from {to}",
        *(f"revoke insert, update, delete on {inside}.{table} from {to}" for table in _READ_ONLY),
        f"grant usage on all sequences in schema {inside} to {to}",
        f"grant execute on function {inside}.make_week(timestamptz), {inside}.drop_week(timestamptz) to {to}",
    ]
