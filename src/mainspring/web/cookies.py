"""The cookies of the dashboard: for its own path alone, out of reach of scripts, by HTTPS alone where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

SESSION_COOKIE: Final = "ms_session"
KEPT_SECONDS: Final = 31_536_000
"""A year, for what a visitor has chosen."""


def base_of(request: Request) -> str:
    """Return where the dashboard is mounted, without a slash at the end."""
    return request.scope.get("root_path", "").rstrip("/")


def keep(request: Request, response: Response, name: str, value: str, *, max_age: int | None = None) -> None:
    """Let a browser keep something.

    Args:
        request: What is answered.
        response: The answer.
        name: The cookie.
        value: What it holds.
        max_age: Seconds; None: until the browser is closed.
    """
    # Lax and not strict: a link in a message has to open the page that it names, not the sign-in page.
    response.set_cookie(
        name,
        value,
        max_age=max_age,
        path=base_of(request) or "/",
        httponly=True,
        samesite="lax",
        secure=_is_https(request),
    )


def forget(request: Request, response: Response, name: str) -> None:
    """Let a browser forget something."""
    response.delete_cookie(name, path=base_of(request) or "/")


def _is_https(request: Request) -> bool:
    """Whether the browser came by HTTPS; a proxy that ends it passes on plain HTTP, for the public name."""
    public = urlsplit(request.app.state.mainspring.settings.public_url or "")
    return request.url.scheme == "https" or (public.scheme == "https" and public.hostname == request.url.hostname)
