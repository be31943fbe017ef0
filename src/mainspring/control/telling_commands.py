"""What commands have in common whose changes people are told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mainspring.alerts.notification_settings import NotificationSettings
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Database
    from mainspring.store.engine.signals import Signals


class TellingCommands:
    """Commands with permission, change, audit and what is told of it, each in one transaction.

    Args:
        database: The store.
        audit: Permission and audit.
        signals: To tell those who watch, and the node that delivers.
        telling: Whom it is told to.
    """

    def __init__(self, database: Database, audit: Audit, signals: Signals, telling: NotificationSettings) -> None:
        self._database = database
        self._audit = audit
        self._signals = signals
        self._telling = telling
