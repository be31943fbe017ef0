"""The address of a PostgreSQL database: as the driver takes it, and as people may see it.

An address is what libpq takes: several hosts, a socket as `?host=/run/postgresql`, `?sslmode=require` all work.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def split_options(url: str) -> tuple[str, dict[str, str]]:
    """Return the address for the driver, and those options of the URL that are ours."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    ours = {name: value for name, value in query if name == "pgbouncer"}
    theirs = [(name, value) for name, value in query if name not in ours]
    return urlunsplit(parts._replace(scheme="postgresql", query=urlencode(theirs))), ours


def without_password(url: str) -> str:
    """Return a URL as it may be shown."""
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    place = f"{user.partition(':')[0]}@{hosts}" if user else hosts
    query = [(name, value) for name, value in parse_qsl(parts.query) if "pass" not in name]
    return urlunsplit(parts._replace(netloc=place, query=urlencode(query, safe="/")))
