"""What `@app.processing` refuses, and what it then tells one to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Mainspring
from mainspring.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def app() -> Mainspring:
    return Mainspring()


async def no_item() -> None: ...
async def strange(item: int, strange: int) -> None: ...
async def only_named(*, item: int) -> None: ...
async def only_context(ctx: object) -> None: ...
async def good(item: int) -> None: ...
def plain_generator(source: int) -> Iterator[int]:
    yield from range(source)


async def source_of_strangers(source: object, table: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "options", "told"),
    [
        (no_item, {}, r"has no parameter for the item: write `async def each\(item\): ...`"),
        (only_named, {}, "has no parameter for the item"),
        (only_context, {}, "has no parameter for the item"),
        (strange, {}, r"asks for 'strange', which nobody can give: .*ctx, organization_id, params"),
        (plain_generator, {}, "yields, and it is to work on one item"),
        (5, {}, "which cannot be called"),
        (good, {"source": source_of_strangers}, r"its source asks for 'table', .* write `async def items\("),
        (good, {"source": iter([1])}, "can be read only once"),
        (good, {"source": plain_generator(1)}, "can be read only once"),
        (good, {"source": "text"}, "its source is str"),
        (good, {"source": 5}, "its source is int"),
        (good, {"chunk_size": 0}, "chunk_size is 0: it must be 1 to 10,000"),
        (good, {"parallel": 257}, "parallel is 257: it must be 1 to 256"),
        (good, {"max_failures": -1}, "max_failures is -1: it must be at least 0"),
    ],
)
def test_a_declaration_that_cannot_work_is_told_what_to_write(
    app: Mainspring, function: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(DefinitionError, match=rf"processor 'note'.*{told}"):
        app.processing("note", **options)(function)


def test_names_of_processors_are_unique_and_can_be_written(app: Mainspring) -> None:
    assert app.processing("note")(good) is good
    with pytest.raises(DefinitionError, match="two processors named 'note'"):
        app.processing("note")(good)
    with pytest.raises(DefinitionError, match="cannot be used"):
        app.processing("no te")(good)
