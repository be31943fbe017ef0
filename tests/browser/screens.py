"""The screens of the dashboard, taken from its routes, so that none can be forgotten."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastapi.routing import APIRoute

from mainspring.web.app import PAGES
from mainspring.web.templating import FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEMPLATE: Final = re.compile(r"\"([a-z_/]+\.html)\"")
_WHOLE_PAGE: Final = re.compile(r'{% extends "(base|frame)\.html" %}')
_NO_SCREENS: Final = {"base.html", "fault.html"}
"""What others extend, and what is shown where nothing is."""


@dataclass(frozen=True, slots=True)
class Screen:
    """A whole page.

    Attributes:
        name: What its function is called.
        path: Where it is below the mount, with parameters in braces.
    """

    name: str
    path: str

    @property
    def is_for_strangers(self) -> bool:
        """Whether nobody has signed in who sees it."""
        return self.path.startswith("/sign-in")

    def at(self, known: Mapping[str, str]) -> str:
        """Return where it is for one thing.

        Args:
            known: What the parameters stand for; a page with a new one needs an entry (`Known.parameters`).
        """
        return self.path.format_map(known)


def templates_of_pages() -> set[str]:
    """Return the templates that make whole pages."""
    files = (file for file in FOLDER.rglob("*.html") if _WHOLE_PAGE.search(file.read_text(encoding="utf-8")))
    return {file.relative_to(FOLDER).as_posix() for file in files} - _NO_SCREENS


def _templates_of(route: APIRoute) -> set[str]:
    """Return the whole pages that a function makes, itself or by another function of its file that it calls."""
    source = inspect.getsource(route.endpoint)
    named = set(_TEMPLATE.findall(source))
    for name, helper in inspect.getmembers(inspect.getmodule(route.endpoint), inspect.isfunction):
        if helper is not route.endpoint and re.search(rf"\b{name}\(", source):
            named |= set(_TEMPLATE.findall(inspect.getsource(helper)))
    return named & templates_of_pages()


_ROUTES: Final = [
    route
    for page in PAGES
    for route in page.router.routes
    if isinstance(route, APIRoute) and "GET" in (route.methods or ()) and _templates_of(route)
]

SCREENS: Final = tuple(Screen(route.name, route.path) for route in _ROUTES)


def templates_shown() -> set[str]:
    """Return the templates that the screens show."""
    return {template for route in _ROUTES for template in _templates_of(route)}
