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
from mainspring.store.tables.alerts import alerts, notification_routes, notifications, silences
from mainspring.store.tables.cluster import fences, idempotency_keys, locks, nodes, rollup_marks, rollups
from mainspring.store.tables.executions import (
    attempts,
    execution_dependencies,
    execution_logs,
    executions,
    executions_live,
)
from mainspring.store.tables.health import job_health, watches
from mainspring.store.tables.jobs import (
    definitions,
    job_dependencies,
    limits,
    organizations,
    pauses,
    queues,
    schedules,
    services,
    sync_cursors,
    ticks,
)
from mainspring.store.tables.metadata import SCHEMA, metadata
from mainspring.store.tables.repair import breakers, replayed_executions, replays
from mainspring.store.tables.saved_views import saved_views

__all__ = [
    "SCHEMA",
    "alerts",
    "api_keys",
    "attempts",
    "audit_entries",
    "audit_seals",
    "audit_unsealed",
    "breakers",
    "definitions",
    "execution_dependencies",
    "execution_logs",
    "executions",
    "executions_live",
    "fences",
    "idempotency_keys",
    "job_dependencies",
    "job_health",
    "limits",
    "locks",
    "login_attempts",
    "metadata",
    "nodes",
    "notification_routes",
    "notifications",
    "organizations",
    "pauses",
    "queues",
    "replayed_executions",
    "replays",
    "revocations",
    "rollup_marks",
    "rollups",
    "saved_views",
    "schedules",
    "services",
    "sessions",
    "silences",
    "sync_cursors",
    "ticks",
    "users",
    "watches",
]
