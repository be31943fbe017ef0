"""How commands answer on standard output: JSON for programs, tables for people."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

JsonOption = Annotated[bool, typer.Option("--json", help="Answer with JSON.")]

STATUS_COLOURS: Final = {
    "queued": "cyan",
    "running": "blue",
    "retrying": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
    "skipped": "bright_black",
}
_WIDTH_WITHOUT_TERMINAL: Final = 200


def console() -> Console:
    """Return what draws on standard output, as it is now: in colour and as wide as the terminal, where it is one."""
    from rich.console import Console

    stream = sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(file=stream, width=width, highlight=False)


def print_json(value: object) -> None:
    """Write a value as one JSON document, indented for people."""
    import orjson

    from mainspring.domain.write_door import to_jsonable

    typer.echo(orjson.dumps(to_jsonable(value), option=orjson.OPT_INDENT_2).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str, unbroken: int = 0) -> None:
    """Draw a table.

    Args:
        columns: Its heads.
        rows: Its cells; None is shown as a dash.
        empty: What to say where there are no rows.
        unbroken: How many of the first columns keep their width where the terminal is narrow.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number < unbroken)
    for row in rows:
        table.add_row(*("[bright_black]–[/]" if cell is None else str(cell) for cell in row))
    console().print(table if table.row_count else f"[bright_black]{empty}[/]")


def print_facts(facts: Sequence[tuple[str, Any]]) -> None:
    """Draw the facts of one thing, a line each; what is None is left out."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in facts:
        if value is not None:
            grid.add_row(name, str(value))
    console().print(grid)


def print_record(record: Mapping[str, Any]) -> None:
    """Draw what `--json` would write of one thing, a line each: square brackets are text, and None is left out."""
    print_facts([(name, None if value is None else plain(value)) for name, value in record.items()])


def coloured_status(status: str) -> str:
    """Return a status in its colour, as rich markup."""
    return f"[{STATUS_COLOURS.get(status, 'white')}]{status}[/]"


def plain(text: object) -> str:
    """Return text that may hold square brackets, safe for rich markup."""
    from rich.markup import escape

    return escape(str(text))


def local_time(instant: datetime | None) -> str | None:
    """Return an instant as people of this machine read it."""
    return None if instant is None else instant.astimezone().strftime("%Y-%m-%d %H:%M:%S")
