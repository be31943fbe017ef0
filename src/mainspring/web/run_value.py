"""Payloads and results as trees that open and close without scripts, with what nobody may read left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from mainspring.domain.job_object import HIDDEN
from mainspring.domain.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_DEEPEST: Final = 12
_MOST_CHILDREN: Final = 200
_OPEN_DEPTH: Final = 2


@dataclass(frozen=True, slots=True)
class Branch:
    """A value in a tree.

    Attributes:
        key: Under which it stands; empty: the whole.
        text: What it is, where nothing stands below it.
        children: What stands below it; None: it is a single value.
        is_open: Whether it is shown open at first.
        more: How many children are left out.
    """

    key: str
    text: str
    children: Sequence[Branch] | None
    is_open: bool
    more: int


def visible(value: object, sensitive: Collection[str] = ()) -> Any:  # noqa: ANN401 - JSON
    """Return a value without what is secret by its key, its shape or the word of the job's author."""
    cleaned: Any = redact(value)
    if isinstance(cleaned, dict):
        known = cast("dict[str, Any]", cleaned)
        cleaned = {key: HIDDEN if key in sensitive else each for key, each in known.items()}
    return cleaned


def tree(value: Any, key: str = "", depth: int = 0) -> Branch:  # noqa: ANN401 - JSON
    """Return a value as a tree."""
    pairs: list[tuple[str, Any]] | None = None
    if isinstance(value, dict):
        pairs = [(str(name), each) for name, each in cast("dict[str, Any]", value).items()]
    elif isinstance(value, list):
        pairs = [(str(place), each) for place, each in enumerate(cast("list[Any]", value))]
    if not pairs or depth >= _DEEPEST:
        return Branch(key, as_json(value), None, is_open=False, more=0)
    children = [tree(each, name, depth + 1) for name, each in pairs[:_MOST_CHILDREN]]
    kind = "{…}" if isinstance(value, dict) else "[…]"
    return Branch(
        key, f"{kind} {len(pairs)}", children, is_open=depth < _OPEN_DEPTH, more=max(0, len(pairs) - _MOST_CHILDREN)
    )


def as_json(value: Any, *, indented: bool = False) -> str:  # noqa: ANN401 - JSON
    """Return a value as JSON."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else 0).decode()
