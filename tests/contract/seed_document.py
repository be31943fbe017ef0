"""The on-demand document, read by a program: its requests, the answers that it promises, and its tables."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from tests.contract.curl import Request, request_of

DOCUMENT = Path(__file__).with_name("on-demand-jobs.md")
"""A copy, word for word."""
SERVER = "http://localhost:3000"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DOWNLOAD = re.compile(r"/api/v1/exports/[a-z_]+_\d{4}-\d\d-\d\d.*\.csv")
SHAPES = (INSTANT, ID, DOWNLOAD)


@dataclass(frozen=True, slots=True)
class Exchange(Request):
    """One request of the document, and what is answered.

    Attributes:
        title: What the document calls it.
        answer: The documented body.
    """

    title: str
    answer: dict[str, Any]

    @property
    def job_id(self) -> str | None:
        """The id of the job that the address names."""
        found = ID.search(self.address)
        return found[0] if found else None


def document() -> str:
    """Return the document."""
    return DOCUMENT.read_text(encoding="utf-8")


def transcript(title: str) -> list[Exchange]:
    """Return the exchanges of a transcript: `curl` commands, each with its response."""
    (script,) = re.findall(r"```bash\n(.*?)```", _section(title), flags=re.DOTALL)
    steps = re.split(r"^# (?=\d+\. )", script, flags=re.MULTILINE)[1:]
    return [_of_command(step) for step in steps]


def endpoint(title: str) -> Exchange:
    """Return the exchange of a documented endpoint: a raw request with its response."""
    (block,) = re.findall(r"```http\n(.*?)```", _section(title), flags=re.DOTALL)
    request, _, answer = block.partition("Response:\n")
    head, _, body = request.partition("\n\n")
    first, *lines = head.strip().splitlines()
    method, address = first.split()
    headers = dict(line.split(": ", 1) for line in lines)
    return Exchange(method, address, headers, body.strip() or None, title, json.loads(answer))


def states() -> dict[str, tuple[bool, bool]]:
    """Return for each state whether a job in it can be cancelled, and whether it can be retried."""
    rows = re.findall(r"^\| \*\*(\w+)\*\* \|[^|]*\|([^|]*)\|([^|]*)\|", _section("Job States Table"), re.MULTILINE)
    return {state: ("Yes" in cancel, "Yes" in retry) for state, cancel, retry in rows}


def columns() -> list[str]:
    """Return the columns of the documented table."""
    (table,) = re.findall(r"CREATE TABLE jobs \((.*?)\);", document(), flags=re.DOTALL)
    return re.findall(r"^    (\w+) ", table, re.MULTILINE)


def polling_seconds() -> dict[str, int]:
    """Return after how many seconds to ask again, by the kind of job."""
    found = re.findall(r"- \*\*(\w+) \w+\*\*: (\d+) seconds", _section("Polling Recommendations"))
    return {kind: int(seconds) for kind, seconds in found}


def steps_of_an_export() -> list[tuple[str, int]]:
    """Return the steps with their percentages."""
    found = re.findall(r"\d\. \*\*(.+?)\*\* \((\d+)%\)", _section("Export Report Processor Steps"))
    return [(label, int(percent)) for label, percent in found]


def names_in(title: str) -> set[str]:
    """Return what a list of the document describes."""
    return set(re.findall(r"^- \*\*([\w.]+)\*\*:", _section(title), re.MULTILINE))


def _section(title: str) -> str:
    (text,) = re.findall(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ \w|\Z)", _without_comments(), re.MULTILINE | re.DOTALL)
    return text.replace("\0", "#")


def _without_comments() -> str:
    """Return the document with other signs before the comments of its scripts, which look like headings."""
    return re.sub(
        r"```bash\n.*?```", lambda found: found[0].replace("\n# ", "\n\0 "), document(), flags=re.DOTALL
    ).replace("```bash\n#", "```bash\n\0")


def _of_command(step: str) -> Exchange:
    title, _, rest = step.partition("\n")
    command, _, answer = rest.partition("# Response:\n")
    return Exchange(**asdict(request_of(command, SERVER)), title=title, answer=json.loads(answer))


def require_answer(answered: Any, documented: Any, *, at: str = "answer", more: bool = False) -> None:
    """Compare an answer with the documented one: every field, by value; ids, instants and addresses by their shape.

    Args:
        answered: What the server said.
        documented: What the document says.
        at: Where we are, for the message of a failure.
        more: Whether there may be fields that the document leaves out, as in its abridged transcripts.
    """
    if isinstance(documented, dict):
        _require_fields(answered, cast("dict[str, Any]", documented), at=at, more=more)
    elif isinstance(documented, list):
        items = cast("list[Any]", documented)
        assert len(answered) == len(items), at
        for number, item in enumerate(items):
            require_answer(answered[number], item, at=f"{at}[{number}]", more=more)
    elif shape := next(
        (shape for shape in SHAPES if isinstance(documented, str) and shape.fullmatch(documented)), None
    ):
        assert shape.fullmatch(str(answered)), f"{at} is {answered!r}"
    elif at.endswith(".fileSize"):
        assert isinstance(answered, int)
        assert answered > 0
    else:
        assert answered == documented, f"{at} is {answered!r}, and not {documented!r}"


def _require_fields(answered: Any, documented: dict[str, Any], *, at: str, more: bool) -> None:
    assert isinstance(answered, dict), at
    fields = cast("dict[str, Any]", answered)
    missing, unknown = documented.keys() - fields.keys(), fields.keys() - documented.keys()
    assert not missing, f"{at} lacks {missing}"
    assert more or not unknown, f"{at} has {unknown}"
    for name, value in documented.items():
        abridged = more or name == "result"  # results may say more than is documented
        require_answer(fields[name], value, at=f"{at}.{name}", more=abridged)
