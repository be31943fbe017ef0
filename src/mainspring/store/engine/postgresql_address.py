"""The address of a PostgreSQL database: as the driver takes it, and as people may see it.

An address is what libpq takes: several hosts, a socket as `?host=/run/postgresql`, `?sslmode=require` all work.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit


def split_options(url: str) -> tuple[str, dict[str, str]]:
    """Return the address for the driver, and those options of the URL that are ours."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    ours = {name: value for name, value in query if name == "pgbouncer"}
    theirs = [(name, value) for name, value in query if name not in ours]
    return _joined(parts.netloc, parts.path, urlencode(theirs)), ours


def without_password(url: str) -> str:
    """Return a URL as it may be shown."""
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    place = f"{user.partition(':')[0]}@{hosts}" if user else hosts
    shown = [(name, value) for name, value in parse_qsl(parts.query) if "pass" not in name]
    return _joined(place, parts.path, urlencode(shown, safe="/"))


def _joined(place: str, path: str, query: str) -> str:
    # Not `urlunsplit`, which leaves the slashes out where no host is named.
    return f"postgresql://{place}{path}" + (f"?{query}" if query else "")
