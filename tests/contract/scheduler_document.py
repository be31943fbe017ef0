"""The scheduler document, read by a program: how a service registers, what admins do, and the tables."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.contract.curl import Request, request_of

DOCUMENT = Path(__file__).with_name("scheduler-service.md")
"""A copy, word for word."""
SERVER = "http://localhost:7007"


def registration() -> Request:
    """Return how a service registers a job on startup: the `fetch` of the document."""
    calls: list[tuple[str, str]] = re.findall(r"await fetch\('(.*?)', \{(.*?)\n\}\);", _text(), re.DOTALL)
    [(address, said)] = calls
    (method,) = re.findall(r"method: '(\w+)'", said)
    (headers,) = re.findall(r"headers: (\{.*?\})", said)
    (body,) = re.findall(r"JSON\.stringify\((\{.*?\n  \})\)", said, re.DOTALL)
    return Request(method, urlsplit(address).path, _object(headers), json.dumps(_object(body)))


def local_test() -> list[Request]:
    """Return the requests of "Test locally", in their order."""
    (script,) = re.findall(r"\*\*Test locally\*\*:\n```bash\n(.*?)```", _text(), re.DOTALL)
    commands: list[str] = re.findall(r"^curl .*$", script.replace("\\\n", " "), re.MULTILINE)
    return [request_of(command, SERVER) for command in commands]


def tuned_schedule() -> tuple[str, str, str]:
    """Return the expression before and after the tuning of a schedule, and what the preview of the latter says."""
    ((before, after, words),) = re.findall(
        r"\*\*Change\*\* `(.*?)` → `(.*?)`.*?\n5\. \*\*Preview\*\* shows \"(.*?)\"", _text()
    )
    return before, after, words


def columns(table: str) -> list[str]:
    """Return the columns of a documented table."""
    (body,) = re.findall(rf"CREATE TABLE {table} \((.*?)\);", _text(), re.DOTALL)
    return re.findall(r"^  (\w+) ", body, re.MULTILINE)


def refusal_of_a_second_run() -> str:
    """Return what is answered to who triggers a job that is running."""
    (words,) = re.findall(r'Returns error "(.*?)"', _text())
    return words


def _text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def _object(literal: str) -> dict[str, Any]:
    """Return an object literal of TypeScript."""
    literal = re.sub(r"(?<!:)//.*", "", literal).replace("{ ... }", "{}")
    quoted = re.sub(r"^(\s*\{?\s*)(\w+):", r'\1"\2":', literal, flags=re.MULTILINE)
    return json.loads(re.sub(r"'([^']*)'", r'"\1"', quoted))
