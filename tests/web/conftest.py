"""The dashboard without a browser: people who have signed in, and what their pages hold."""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final

import httpx2
import orjson
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from mainspring import Mainspring
from mainspring.domain.access import Role
from mainspring.store.identity import users
from mainspring.web.app import dashboard
from mainspring.web.csrf import CSRF_HEADER, csrf_token
from mainspring.web.visit import SESSION_COOKIE, services_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from fastapi import FastAPI

    from mainspring.store.engine.database import Connection
    from mainspring.web.services import Services

MOUNT: Final = "/ui"
_VOID: Final = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


@dataclass(slots=True)
class Element:
    """An element of a page.

    Attributes:
        tag: Its name.
        attributes: What it says; an attribute without a value is empty.
        text: Everything that is written in it.
    """

    tag: str
    attributes: dict[str, str]
    text: str = ""


class Page(HTMLParser):
    """A page, as its elements.

    Args:
        html: The page.

    Attributes:
        elements: All of them, in the order in which they begin.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        """End an element."""
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Note what is written."""
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Return the elements of a name that say all of this; `data_row` stands for `data-row`."""
        wanted = {name.strip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            element
            for element in self.elements
            if element.tag == tag and all(element.attributes.get(name) == value for name, value in wanted.items())
        ]

    def text(self, tag: str) -> str:
        """Return what the first element of a name says, with single spaces."""
        return " ".join(self.all(tag)[0].text.split())

    def says(self, text: str) -> bool:
        """Whether the page shows a text."""
        return text in " ".join(self.all("body")[0].text.split() if self.all("body") else self.everything.split())

    @property
    def everything(self) -> str:
        """All that is written anywhere."""
        return " ".join(element.text for element in self.elements)


@dataclass
class Site:
    """A dashboard, mounted in a program of somebody else."""

    app: Mainspring
    pages: FastAPI
    host: Starlette
    mount: str
    clients: AsyncExitStack
    sessions: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def services(self) -> Services:
        """The services behind its pages."""
        return services_of(_RequestOf(self.pages))  # pyright: ignore[reportArgumentType] - it reads the application alone

    async def stranger(self) -> httpx2.AsyncClient:
        """Return a browser in which nobody has signed in."""
        transport = httpx2.ASGITransport(self.host)
        client = httpx2.AsyncClient(transport=transport, base_url=f"http://localhost{self.mount}")
        return await self.clients.enter_async_context(client)

    async def client(
        self, name: str = "ada", role: Role = Role.ADMIN, organization_id: str | None = None
    ) -> httpx2.AsyncClient:
        """Return a browser in which somebody has signed in; its requests carry the token of forms."""
        services = self.services

        def let_in(connection: Connection) -> str:
            user_id = self.app.world.new_id()
            users.insert(
                connection, user_id, name, role=role, organization_id=organization_id, password_hash="no password"
            )
            found = users.with_password_hash(connection, name)
            assert found is not None
            return services.sessions.begin(connection, found[0])

        session_id = self.sessions.get(name) or await services.opened.database.tx(let_in)
        self.sessions[name] = session_id
        client = await self.stranger()
        client.cookies.set(SESSION_COOKIE, session_id)
        client.headers[CSRF_HEADER] = csrf_token(services, session_id)
        return client


@dataclass
class _RequestOf:
    app: FastAPI


def mounted(app: Mainspring, clients: AsyncExitStack, mount: str = MOUNT, *, read_only: bool = False) -> Site:
    """Return the dashboard of an application, mounted under a path."""
    pages = dashboard(app, read_only=read_only)
    host = Starlette(routes=[Mount(mount, pages)])
    return Site(app, pages, host, mount, clients)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store of the present version, to copy: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "store.db"

    async def migrate() -> None:
        async with Mainspring(database_url=f"sqlite:///{path}").connected():
            pass

    asyncio.run(migrate())
    return path


@pytest.fixture
def app(tmp_path: Path, migrated_file: Path) -> Mainspring:
    """An application on a store of its own; tests declare its jobs before the site is opened."""
    shutil.copy(migrated_file, tmp_path / "store.db")
    return Mainspring(
        database_url=f"sqlite:///{tmp_path}/store.db",
        secret_key="the secret key of the tests, 32 bytes",
        export_dir=tmp_path / "exports",
    )


@pytest.fixture
async def site(app: Mainspring) -> AsyncIterator[Site]:
    """The dashboard of the application, at `/ui`."""
    async with AsyncExitStack() as clients:
        await clients.enter_async_context(app.connected())
        yield mounted(app, clients)


def links(page: Page) -> Sequence[str]:
    """Return every address that a page names."""
    names = ("href", "src", "action", "hx-get", "hx-post")
    return [element.attributes[name] for element in page.elements for name in names if name in element.attributes]


def words_of(html: str) -> str:
    """Return what a part of a page says, with single spaces and without its marks."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


async def take_back(client: httpx2.AsyncClient, answer: httpx2.Response) -> httpx2.Response:
    """Do what the news of an action offer to undo it."""
    offer = orjson.loads(answer.headers["HX-Trigger"])["ms:toast"]["undo"]
    assert offer["words"] == "Undo"
    return await client.post(offer["path"].removeprefix("/ui"), data=offer["form"], headers={"HX-Request": "true"})
