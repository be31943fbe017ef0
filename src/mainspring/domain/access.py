"""Who acts, what they may do, and whose rows they see."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Permission(StrEnum):
    """What an actor may do, in the spellings of the seeds (contract §6)."""

    CREATE_JOBS = "jobs.create_jobs"
    VIEW_JOBS = "jobs.view_jobs"
    CANCEL_JOBS = "jobs.cancel_jobs"
    RETRY_JOBS = "jobs.retry_jobs"
    EXPORT_REPORTS = "reports.export_reports"
    READ_ADMIN_SETTINGS = "ADMIN_SETTINGS_READ"
    WRITE_ADMIN_SETTINGS = "ADMIN_SETTINGS_WRITE"
    EDIT_SCHEDULES = "schedules.edit_schedules"
    MANAGE_ACCESS = "access.manage_access"
    VIEW_AUDIT = "audit.view_audit"
    REGISTER_JOBS = "jobs.register_jobs"


class Role(StrEnum):
    """A name for a set of permissions."""

    MEMBER = "member"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    SERVICE = "service"

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the role may do (contract §6)."""
        return _PERMISSIONS[self]

    @property
    def sees_organization(self) -> bool:
        """Whether it sees all rows of its organization, not only its own."""
        return self in {Role.VIEWER, Role.OPERATOR, Role.ADMIN}


_MEMBER: Final = frozenset(
    {
        Permission.CREATE_JOBS,
        Permission.VIEW_JOBS,
        Permission.CANCEL_JOBS,
        Permission.RETRY_JOBS,
        Permission.EXPORT_REPORTS,
    }
)
_VIEWER: Final = frozenset({Permission.VIEW_JOBS, Permission.READ_ADMIN_SETTINGS})
_PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.MEMBER: _MEMBER,
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _VIEWER | _MEMBER | {Permission.WRITE_ADMIN_SETTINGS},
    # Admins change when a job runs, never what it is: definitions come from code and from services.
    Role.ADMIN: frozenset(Permission) - {Permission.REGISTER_JOBS},
    Role.SERVICE: frozenset({Permission.REGISTER_JOBS}),
}


def needed_to_create(job_name: str, payload: object) -> tuple[Permission, ...]:
    """Return the permissions that the creation of a built-in job needs besides `jobs.create_jobs`.

    Args:
        job_name: Which job.
        payload: What it is to work on, as anybody may have sent it.

    Example:
        >>> needed_to_create("export_report", {"reportType": "audit", "format": "csv"})
        (<Permission.EXPORT_REPORTS: 'reports.export_reports'>, <Permission.VIEW_AUDIT: 'audit.view_audit'>)
    """
    if job_name != "export_report":
        return ()
    asked = cast("dict[str, object]", payload) if isinstance(payload, dict) else {}
    audit = (Permission.VIEW_AUDIT,) if asked.get("reportType") == "audit" else ()
    return (Permission.EXPORT_REPORTS, *audit)


def asks_for_all_users(job_name: str, payload: object) -> bool:
    """Whether an export is to hold the executions of all users of an organization, which not every actor sees.

    Args:
        job_name: Which job.
        payload: What it is to work on, as anybody may have sent it.
    """
    match payload:
        case {"reportType": "executions", "filters": {"allUsers": True}}:
            return job_name == "export_report"
        case _:
            return False


class ActorKind(StrEnum):
    """What kind of principal acts."""

    USER = "user"
    SERVICE = "service"
    KEY = "key"
    """A program with the API key of an organization."""
    TERMINAL = "terminal"
    """Whoever runs commands beside the database and holds the secret key."""
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows a query sees; a mandatory part of every list and get.

    Attributes:
        environment: The environment; always one.
        organization_id: One organization's rows alone; None: all.
        user_id: One user's rows alone; None: all of the organization.
    """

    environment: str
    organization_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """The request through which an actor acts, for the audit.

    Attributes:
        request_id: The id that the answer carries in `X-Request-Id`.
        address: The network address it came from.
    """

    request_id: str | None = None
    address: str | None = None


class CredentialKind(StrEnum):
    """By what an actor proved who it is."""

    TOKEN = "token"  # noqa: S105 - a word, not a secret
    KEY = "key"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Credential:
    """What an actor proved itself by: enough to ask later whether it still holds, and no secret.

    Attributes:
        kind: What it is.
        id: The `jti` of a token, the id of a key, the hash of a session's id.
        issued_at: When it was made.
        expires_at: When it ends by itself; None: it does not.
    """

    kind: CredentialKind
    id: str
    issued_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts.

    Attributes:
        subject: The user's or service's id.
        kind: What kind of principal it is.
        environment: The environment it acts in.
        organization_id: Its organization; None: platform staff or the application itself.
        permissions: What it may do.
        sees_organization: Whether it sees all rows of its organization, not only its own.
        origin: Where its request came from.
        name_prefix: What the names of the jobs begin with that a service may register; None: it may register none.
        credential: What it proved itself by; None for the application and for commands of the terminal.
    """

    subject: str
    kind: ActorKind
    environment: str
    organization_id: str | None = None
    permissions: frozenset[Permission] = frozenset()
    sees_organization: bool = False
    origin: Origin = field(default=Origin(), compare=False)
    name_prefix: str | None = None
    credential: Credential | None = field(default=None, compare=False)

    @property
    def is_application(self) -> bool:
        """Whether it is the application itself: it may do everything, and is not audited."""
        return self.kind is ActorKind.SYSTEM

    @property
    def scope(self) -> Scope:
        """Return whose rows it sees (contract §6, "who sees what")."""
        if self.organization_id is None:
            return Scope(self.environment)
        return Scope(self.environment, self.organization_id, None if self.sees_organization else self.subject)

    def may(self, permission: Permission) -> bool:
        """Whether it holds a permission."""
        return self.is_application or permission in self.permissions

    @classmethod
    def at_terminal(cls, environment: str, login: str) -> Actor:
        """Return whoever runs a command beside the database: whoever can do that may do everything, and is audited.

        Args:
            environment: The environment it acts in.
            login: The name by which the operating system knows it.
        """
        return cls(f"terminal:{login}", ActorKind.TERMINAL, environment, permissions=frozenset(Permission))

    @classmethod
    def application(cls, environment: str) -> Actor:
        """Return the application itself."""
        return cls("SYSTEM", ActorKind.SYSTEM, environment)
