"""What `@app.sync` refuses, and what it then tells one to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Mainspring
from mainspring.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def app() -> Mainspring:
    return Mainspring()


async def changes(after: int | None) -> AsyncIterator[tuple[list[int], int]]:
    yield [1], 1


async def paced(after: int | None, pace: Any) -> AsyncIterator[tuple[list[int], int]]:
    yield [1], 1


def paced_on_a_thread(after: int | None, pace: Any) -> Iterator[tuple[list[int], int]]:
    yield [1], 1


def everything() -> Iterator[tuple[list[int], int]]:
    yield [1], 1


def strange(after: int | None, table: str) -> Iterator[tuple[list[int], int]]:
    yield [1], 1


async def save(records: list[int]) -> None: ...
async def nothing() -> None: ...
async def save_strangely(records: list[int], table: str) -> None: ...
def save_and_yield(records: list[int]) -> Iterator[int]:
    yield from records


@pytest.mark.parametrize(
    ("target", "options", "told"),
    [
        (save, {"source": everything}, r"does not take `after`, .* write `async def changes\(after\): yield"),
        (save, {"source": strange}, "its source asks for 'table', which nobody can give"),
        (save, {"source": [1, 2]}, "its source is .*, which cannot be called"),
        (nothing, {"source": changes}, r"has no parameter for the records: write `async def save\(records\): ...`"),
        (save_strangely, {"source": changes}, "its target asks for 'table', which nobody can give"),
        (save_and_yield, {"source": changes}, "its target yields"),
        (save, {"source": changes, "batch_size": 0}, "batch_size is 0: it must be 1 to 10,000"),
        (save, {"source": paced}, "takes `pace`, and there is no rate"),
        (save, {"source": paced_on_a_thread, "rate": "1/s"}, "which has to be awaited: make it `async def`"),
    ],
)
def test_a_declaration_that_cannot_work_is_told_what_to_write(
    app: Mainspring, target: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(DefinitionError, match=rf"sync 'numbers'.*{told}"):
        app.sync("numbers", **options)(target)


def test_a_rate_that_cannot_be_read_is_refused(app: Mainspring) -> None:
    with pytest.raises(DefinitionError, match="'often' cannot be read"):
        app.sync("numbers", source=changes, rate="often")(save)


def test_names_of_syncs_are_unique_and_can_be_written(app: Mainspring) -> None:
    assert app.sync("numbers", source=changes)(save) is save
    with pytest.raises(DefinitionError, match="two syncs named 'numbers'"):
        app.sync("numbers", source=changes)(save)
    with pytest.raises(DefinitionError, match="cannot be used"):
        app.sync("", source=changes)(save)
