"""The `curl` commands of the documents, read by a program."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a document.

    Attributes:
        method: GET or POST.
        address: Path and query.
        headers: As they are written, the token or its placeholder among them.
        body: As it is written; None: it has none.
    """

    method: str
    address: str
    headers: dict[str, str]
    body: str | None


def request_of(command: str, server: str) -> Request:
    """Return what a `curl` command, which may go over several lines, sends to a server."""
    words = iter(shlex.split(command.replace("\\\n", " "))[1:])
    method, address, body = "GET", "", None
    headers: dict[str, str] = {}
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words)
            case _:
                assert word.startswith(server), f"{word} is no option that is read here, and no URL of {server}"
                parts = urlsplit(word)
                address = parts.path + (f"?{parts.query}" if parts.query else "")
    return Request(method, address, headers, body)
