"""A visit: one request of somebody who has signed in, with all that a page needs to answer it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mainspring.domain.access import Actor, Origin, Permission, Role, Scope
from mainspring.domain.topics import Topic
from mainspring.errors import MainspringError
from mainspring.security.audit import Target
from mainspring.security.authentication import AuthenticationError
from mainspring.store.alerting import alerts
from mainspring.store.alerting.alerts import Untaken
from mainspring.store.scheduling import pauses
from mainspring.web.browser_events import with_browser_events
from mainspring.web.clock import Clock
from mainspring.web.cookies import SESSION_COOKIE, base_of
from mainspring.web.csrf import csrf_token, require_own_form
from mainspring.web.pause_words import pause_words
from mainspring.web.services import Services
from mainspring.web.templating import Templates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.store.engine.database import Database


class NotSignedInError(AuthenticationError):
    """Nobody has signed in, or the session is over."""

    code = "NOT_SIGNED_IN"


class ReadOnlyError(MainspringError):
    """This dashboard shows, and changes nothing."""

    code = "READ_ONLY"


@dataclass(frozen=True, slots=True)
class PageVisit:
    """One request of somebody who has signed in.

    Attributes:
        request: It.
        services: The services behind the pages.
        templates: What pages are made of.
        actor: Who has signed in.
        clock: By which it reads instants.
        read_only: Whether this dashboard changes nothing.
    """

    request: Request
    services: Services
    templates: Templates
    actor: Actor
    clock: Clock
    read_only: bool

    @property
    def database(self) -> Database:
        """The open store, for reads."""
        return self.services.opened.database

    @property
    def scope(self) -> Scope:
        """Whose rows this visitor sees."""
        return self.actor.scope

    @property
    def environment(self) -> str:
        """The environment."""
        return self.actor.environment

    @property
    def now(self) -> datetime:
        """The present instant."""
        return self.services.app.world.now()

    @property
    def role(self) -> str:
        """The role whose permissions the visitor has; empty: that of none."""
        return next((role.value for role in Role if role.permissions == self.actor.permissions), "")

    @property
    def is_staff(self) -> bool:
        """Whether the visitor belongs to the platform, and not to one organization."""
        return self.actor.organization_id is None

    def can(self, permission: Permission) -> bool:
        """Whether the visitor holds a permission, and this dashboard changes things at all.

        What is hidden or disabled by this is refused by the commands all the same.
        """
        reads = {Permission.VIEW_JOBS, Permission.READ_ADMIN_SETTINGS, Permission.VIEW_AUDIT}
        return self.actor.may(permission) and (permission in reads or not self.read_only)

    async def require(self, permission: Permission, *, staff: bool = True) -> None:
        """Refuse a visitor without a permission; the denial is audited.

        Args:
            permission: What is needed.
            staff: Whether it is for platform staff alone.

        Raises:
            PermissionDeniedError: The visitor may not see this.
        """
        target = Target("path", self.request.url.path)
        check = self.services.audit.require_staff if staff else self.services.audit.require
        await check(self.actor, permission, "page.view", target)

    def path(self, path: str) -> str:
        """Return the address of a page, wherever the dashboard is mounted.

        Args:
            path: Below the dashboard, such as `/runs`.
        """
        return f"{self.base}{path}"

    @property
    def base(self) -> str:
        """Where the dashboard is mounted, without a slash at the end."""
        return base_of(self.request)

    @property
    def csrf_token(self) -> str:
        """What forms of this session carry."""
        return csrf_token(self.services, self.request.cookies.get(SESSION_COOKIE, ""))

    async def page(
        self, template: str, *, title: str, topics: str = "", status: int = HTTPStatus.OK, **context: object
    ) -> HTMLResponse:
        """Return a whole page.

        Args:
            template: Its file.
            title: What it shows: `title · mainspring` is the title of the tab.
            topics: What makes its fragments ask again, separated by spaces, such as `runs stats`.
            status: The HTTP status.
            **context: What the template shows.
        """
        if topics and self.sees_alerts:
            topics = " ".join(sorted({*topics.split(), Topic.ALERTS.value}))  # how many are open stands on every page
        banner, waiting = await self.pause_banner(), await self.untaken_alerts()
        shell: dict[str, object] = {"title": title, "topics": topics, "banner": banner, "untaken_alerts": waiting}
        return HTMLResponse(self.templates.render(template, self, {**shell, **context}), status)

    def fragment(
        self,
        template: str,
        *,
        status: int = HTTPStatus.OK,
        toast: str | None = None,
        closes_dialog: bool = False,
        changed: tuple[str, ...] = (),
        **context: object,
    ) -> HTMLResponse:
        """Return a part of a page.

        Args:
            template: Its file.
            status: The HTTP status; errors are shown like answers.
            toast: Short news to show.
            closes_dialog: Whether the open dialog has served its purpose.
            changed: Topics whose fragments on the page ask again at once.
            **context: What the template shows.
        """
        response = HTMLResponse(self.templates.render(template, self, context), status)
        return with_browser_events(response, toast=toast, closes_dialog=closes_dialog, changed=changed)

    def done(
        self,
        toast: str,
        *,
        changed: tuple[str, ...] = (),
        go_to: str | None = None,
        undo: str | None = None,
        undo_form: Mapping[str, str | int] | None = None,
    ) -> Response:
        """Answer an action that succeeded: close its dialog, say so, and let the page ask again.

        Without JavaScript it leads back to where the visitor was.

        Args:
            toast: What was done.
            changed: Topics whose fragments ask again at once.
            go_to: A page to go to, below the dashboard; None: stay.
            undo: What takes it back by a POST, below the dashboard; the news offer it.
            undo_form: What that POST says, such as the version that it takes back.
        """
        if "hx-request" not in self.request.headers:
            return RedirectResponse(self.path(go_to or "/"), HTTPStatus.SEE_OTHER)
        response = Response(status_code=HTTPStatus.NO_CONTENT)
        if go_to is not None:
            response.headers["HX-Redirect"] = self.path(go_to)
            return response
        offer = None if undo is None else {"path": self.path(undo), "form": undo_form or {}}
        return with_browser_events(response, toast=toast, closes_dialog=True, changed=changed, undo=offer)

    async def pause_banner(self) -> str | None:
        """Return what every page says above everything else: that all schedules are paused."""
        found = await self.database.read(lambda connection: pauses.in_force(connection, self.environment))
        return None if found is None else pause_words(found, self.now)

    @property
    def sees_alerts(self) -> bool:
        """Whether the visitor may know of the platform's alerts."""
        return self.is_staff and self.can(Permission.READ_ADMIN_SETTINGS)

    async def untaken_alerts(self) -> Untaken:
        """Return how many alerts wait for somebody: what the menu and the tab say."""
        if not self.sees_alerts:
            return Untaken()
        return await self.database.read(lambda connection: alerts.count_untaken(connection, self.environment))


def services_of(request: Request) -> Services:
    """Return the services of the application behind this dashboard; made anew where its store was opened anew.

    Raises:
        NotRunningError: The application is neither connected nor running.
    """
    app = request.app.state.mainspring
    services: Services | None = request.app.state.services
    if services is None or services.opened is not app.opened:
        services = request.app.state.services = Services.of(app, request.app.state.hub())
    return services


def origin_of(request: Request, services: Services) -> Origin:
    """Return where a request comes from, as proxies of ours say."""
    peer = request.client.host if request.client else None
    address = services.proxies.client_of(peer, request.headers.getlist("x-forwarded-for"))
    return Origin(request_id=getattr(request.state, "request_id", None), address=address)


async def visit_of(request: Request) -> PageVisit:
    """Return the visit of somebody who has signed in.

    Raises:
        NotSignedInError: Nobody has, or the session is over.
    """
    services = services_of(request)
    session_id = request.cookies.get(SESSION_COOKIE)
    if not session_id:
        raise NotSignedInError("sign in first")
    try:
        actor = await services.sessions.actor_of(session_id, origin_of(request, services))
    except AuthenticationError as error:
        raise NotSignedInError(str(error)) from error
    state = request.app.state
    return PageVisit(request, services, state.templates, actor, Clock.of(request.cookies), state.read_only)


Visit = Annotated[PageVisit, Depends(visit_of)]


async def own_visit_of(request: Request, visit: Visit) -> PageVisit:
    """Return a visit that may change what is the visitor's own, such as its session: it comes from a page of ours.

    Raises:
        ForgedRequestError: The request carries no token of this session.
    """
    await require_own_form(request, visit.services, request.cookies.get(SESSION_COOKIE, ""))
    return visit


OwnVisit = Annotated[PageVisit, Depends(own_visit_of)]


async def acting_visit_of(visit: OwnVisit) -> PageVisit:
    """Return a visit that may change something: it comes from a page of ours, and this dashboard is not read-only.

    Raises:
        ForgedRequestError: The request carries no token of this session.
        ReadOnlyError: This dashboard changes nothing.
    """
    if visit.read_only:
        raise ReadOnlyError("this dashboard is read-only: use the API, the commands, or another mount of it")
    return visit


ActingVisit = Annotated[PageVisit, Depends(acting_visit_of)]


def sign_in_path(request: Request, base: str) -> str:
    """Return the sign-in page that leads back to where the visitor wanted to go."""
    wanted = request.url.path.removeprefix(base) or "/"
    if request.url.query:
        wanted += f"?{request.url.query}"
    is_page = request.method == "GET" and "hx-request" not in request.headers and wanted != "/"
    return f"{base}/sign-in" + (f"?next={quote(wanted)}" if is_page else "")
