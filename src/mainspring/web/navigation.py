"""The pages in the menu: who sees them, by which key they are reached, and what the search finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mainspring.domain.access import Permission
from mainspring.web.words import WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.web.visit import PageVisit


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """A page in the menu.

    Attributes:
        name: What the menu calls it.
        path: Where it is, below the dashboard.
        icon: Its icon.
        key: What takes one there after `g`.
        permission: What its visitor needs.
        is_for_staff: Whether it tells of all organizations.
        others: Pages that are reached from it, and have no entry of their own.
    """

    name: str
    path: str
    icon: str
    key: str
    permission: Permission
    is_for_staff: bool = True
    others: tuple[str, ...] = ()


_MENU: Final = WORDS["menu"]
MENU: Final[Sequence[MenuEntry]] = (
    MenuEntry(_MENU["overview"], "/", "layout-dashboard", "o", Permission.READ_ADMIN_SETTINGS),
    MenuEntry(_MENU["runs"], "/runs", "list-details", "r", Permission.VIEW_JOBS, is_for_staff=False),
    MenuEntry(_MENU["schedules"], "/schedules", "calendar-time", "s", Permission.READ_ADMIN_SETTINGS),
    MenuEntry(_MENU["queues"], "/queues", "stack-2", "q", Permission.READ_ADMIN_SETTINGS),
    MenuEntry(_MENU["workers"], "/workers", "server-2", "w", Permission.READ_ADMIN_SETTINGS),
    MenuEntry(_MENU["alerts"], "/alerts", "bell", "a", Permission.READ_ADMIN_SETTINGS, others=("/notifications",)),
    MenuEntry(_MENU["repair"], "/repair", "arrow-back-up-double", "f", Permission.READ_ADMIN_SETTINGS),
    MenuEntry(_MENU["platform"], "/platform", "shield-check", "p", Permission.READ_ADMIN_SETTINGS),
    MenuEntry(_MENU["audit"], "/audit", "history", "l", Permission.VIEW_AUDIT),
    MenuEntry(_MENU["people"], "/people", "users", "u", Permission.MANAGE_ACCESS, is_for_staff=False),
    MenuEntry(_MENU["settings"], "/settings", "settings", ",", Permission.VIEW_JOBS, is_for_staff=False),
)


def for_visitor(visit: PageVisit) -> list[MenuEntry]:
    """Return the pages that exist and that a visitor may see."""
    served = visit.request.app.state.paths
    return [
        entry
        for entry in MENU
        if entry.path in served and visit.actor.may(entry.permission) and (visit.is_staff or not entry.is_for_staff)
    ]
