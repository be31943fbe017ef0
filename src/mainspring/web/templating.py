"""Making pages: one environment that escapes everything, and what every template may use."""

from __future__ import annotations

import functools
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2

from mainspring.domain.access import Permission
from mainspring.web import navigation
from mainspring.web.changed_facts import changed_facts
from mainspring.web.clock import duration_words, relative
from mainspring.web.statuses import looks
from mainspring.web.words import WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mainspring.web.assets import Assets
    from mainspring.web.visit import PageVisit

FOLDER: Final = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Rendering:
    """What macros need to know of the page that they are part of.

    Attributes:
        assets: The built files that it asks for.
        base: Where the dashboard is mounted.
        visit: For whom it is made; None: nobody has signed in.
    """

    assets: Assets
    base: str
    visit: PageVisit | None = None


_rendering: ContextVar[Rendering] = ContextVar("rendering")
"""Macros do not see what a template was given; handing it on from call to call would hide what they are about."""


class Templates:
    """Renders the templates of `web/templates`.

    Every template, and every macro, may use: `words`, `path(page)`, `asset(source)`, `icon_strokes(name)`,
    `can(permission)`, `Permission`, `looks(state)`, `instant_words(at, schedule_zone)`,
    `duration_words(milliseconds)` and `form_token()`.

    Args:
        assets: The built files that pages ask for.
    """

    def __init__(self, assets: Assets) -> None:
        self._assets = assets

    def render(self, template: str, visit: PageVisit, context: Mapping[str, object]) -> str:
        """Return a page or a part of one, for a visitor."""
        shared = {"visit": visit, "now": visit.now, "clock": visit.clock, "pages": navigation.for_visitor(visit)}
        return self._render(template, Rendering(self._assets, visit.base, visit), {**shared, **context})

    def render_for_strangers(self, template: str, base: str, context: Mapping[str, object]) -> str:
        """Return a page for somebody who has not signed in."""
        return self._render(template, Rendering(self._assets, base), context)

    def _render(self, template: str, rendering: Rendering, context: Mapping[str, object]) -> str:
        token = _rendering.set(rendering)
        try:
            return _environment().get_template(template).render({"base": rendering.base, **context})
        finally:
            _rendering.reset(token)


@functools.cache
def _environment() -> jinja2.Environment:
    """Return the environment of all dashboards of a process: what a template is compiled to does not depend on them."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shared: dict[str, Any] = {
        "Permission": Permission,
        "asset": _asset,
        "can": _can,
        "changed_facts": changed_facts,
        "duration_words": duration_words,
        "icon_strokes": _icon_strokes,
        "form_token": lambda: _visit().csrf_token,
        "instant_words": _instant_words,
        "looks": looks,
        "path": _path,
        "words": WORDS,
    }
    environment.globals.update(shared)
    return environment


def _asset(source: str) -> str:
    rendering = _rendering.get()
    return f"{rendering.base}/static/{rendering.assets.names.get(source, source)}"


def _icon_strokes(name: str) -> str:
    return _rendering.get().assets.icons[name]


def _visit() -> PageVisit:
    visit = _rendering.get().visit
    if visit is None:
        raise AssertionError("this part of a page is for those who have signed in")
    return visit


def _can(permission: Permission) -> bool:
    return _visit().can(permission)


def _path(page: str) -> str:
    return f"{_rendering.get().base}{page}"


def _instant_words(at: datetime, schedule_zone: str | None = None) -> tuple[str, str]:
    visit = _visit()
    return relative(at, visit.now), visit.clock.absolute(at, schedule_zone)
