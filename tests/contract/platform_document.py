"""The platform-jobs document, read by a program: its answers, its tables, and the values that it gives as examples."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

from tests.contract.seed_document import ID, INSTANT

DOCUMENT = Path(__file__).with_name("platform-jobs.md")
"""A copy, word for word."""
EXAMPLE_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
MEASURED = frozenset({"durationMs", "totalDurationMs"})


def endpoints() -> list[tuple[str, str]]:
    """Return method and path of each endpoint, as the document writes them."""
    return re.findall(r"^### (GET|POST) (/\S+)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)


def answer(endpoint: str) -> dict[str, Any]:
    """Return the documented answer of an endpoint; an abridged list is an empty one."""
    found = re.search(r"```json\n(.*?)```", _section(endpoint), re.DOTALL)
    assert found is not None, endpoint
    return json.loads(found[1].replace("[...]", "[]"))


def table(title: str) -> dict[str, str]:
    """Return the rows of a table, by what stands in its first column."""
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|$", _section(title), re.MULTILINE))


def result_fields() -> dict[str, bool]:
    """Return the fields of the interface `JobResult`, and whether each has to be there."""
    found = re.search(r"interface JobResult \{\n(.*?)\n\}", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return {name: not optional for name, optional in re.findall(r"^  (\w+)(\?)?:", found[1], re.MULTILINE)}


def _section(title: str) -> str:
    pattern = rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)"
    found = re.search(pattern, DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def require_answer(answered: Any, documented: Any, *, at: str = "answer") -> None:
    """Compare an answer with the documented one: the same fields, and their values; what is measured by its kind."""
    if isinstance(documented, dict):
        fields = cast("dict[str, Any]", documented)
        assert answered.keys() == fields.keys(), at
        for name, value in fields.items():
            require_answer(answered[name], value, at=f"{at}.{name}")
    elif isinstance(documented, list):
        items = cast("list[Any]", documented)
        assert len(answered) == len(items), at
        for number, item in enumerate(items):
            require_answer(answered[number], item, at=f"{at}[{number}]")
    elif documented == "uuid":
        assert ID.fullmatch(answered), f"{at} is {answered!r}"
    elif isinstance(documented, str) and EXAMPLE_INSTANT.fullmatch(documented):
        assert INSTANT.fullmatch(answered), f"{at} is {answered!r}"
    elif isinstance(documented, str) and documented.endswith("..."):
        assert answered.startswith(documented.removesuffix("...")), f"{at} is {answered!r}"
    elif at.rpartition(".")[2] in MEASURED:
        assert isinstance(answered, int), at
    else:
        assert answered == documented, f"{at} is {answered!r}, and not {documented!r}"
