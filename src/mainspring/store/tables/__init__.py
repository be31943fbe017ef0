"""Every table and index, one module per subject, readable top to bottom."""

from mainspring.store.tables.access import (
    api_keys,
    audit_entries,
    audit_seals,
    audit_unsealed,
    login_attempts,
    revocations,
    sessions,
    users,
)
from mainspring.store.tables.alerts import alerts, notifications
from mainspring.store.tables.cluster import fences, idempotency_keys, locks, nodes, rollups
from mainspring.store.tables.executions import (
    attempts,
    execution_dependencies,
    execution_logs,
    executions,
    executions_live,
)
from mainspring.store.tables.jobs import (
    definitions,
    job_dependencies,
    limits,
    organizations,
    queues,
    schedules,
    services,
    sync_cursors,
    ticks,
)
from mainspring.store.tables.metadata import SCHEMA, metadata

__all__ = [
    "SCHEMA",
    "alerts",
    "api_keys",
    "attempts",
    "audit_entries",
    "audit_seals",
    "audit_unsealed",
    "definitions",
    "execution_dependencies",
    "execution_logs",
    "executions",
    "executions_live",
    "fences",
    "idempotency_keys",
    "job_dependencies",
    "limits",
    "locks",
    "login_attempts",
    "metadata",
    "nodes",
    "notifications",
    "organizations",
    "queues",
    "revocations",
    "rollups",
    "schedules",
    "services",
    "sessions",
    "sync_cursors",
    "ticks",
    "users",
]
