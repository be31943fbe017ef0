"""`db`: the schema of the database, forward and back, and a whole store from SQLite to PostgreSQL."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stdout
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from mainspring.cli.exit_codes import ExitCode
from mainspring.cli.output import JsonOption, console, print_json
from mainspring.errors import SchemaMismatchError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from rich.progress import TaskID

    from mainspring.store.engine.database import Database
    from mainspring.store.upkeep.copy import CopyProgress
    from mainspring.store.upkeep.schema import SchemaState

Result = TypeVar("Result")

program = typer.Typer(help="The database: its schema, moving it.", no_args_is_help=True)


@program.command()
def upgrade() -> None:
    """Bring the schema to this build's version."""

    async def work(database: Database) -> SchemaState:
        from mainspring.store.upkeep import schema

        await schema.upgrade(database)
        return await schema.check(database)

    typer.echo(_with_database(work).description)


@program.command()
def downgrade(revision: Annotated[str, typer.Argument(help="A revision such as 0004, or `base` for none.")]) -> None:
    """Bring the schema back to an earlier version; what later ones added is lost."""

    async def work(database: Database) -> SchemaState:
        from mainspring.store.upkeep import schema

        await schema.downgrade(database, revision)
        return await schema.check(database)

    typer.echo(_with_database(work).description)


@program.command()
def check(*, as_json: JsonOption = False) -> None:
    """Say how the schema stands; exit 5 unless it is the one that this build needs."""

    async def work(database: Database) -> SchemaState:
        from mainspring.store.upkeep import schema

        return await schema.check(database)

    state = _with_database(work)
    if as_json:
        print_json(
            {
                "status": state.status,
                "databaseVersion": state.database_version,
                "buildVersion": state.build_version,
                "description": state.description,
            }
        )
    try:
        state.require_current()
    except SchemaMismatchError:
        if not as_json:
            raise
        raise typer.Exit(ExitCode.SCHEMA_MISMATCH) from None
    if not as_json:
        typer.echo(state.description)


@program.command()
def grants(role: Annotated[str, typer.Argument(help="The role that nodes connect as.")]) -> None:
    """Print the SQL that lets a role run nodes without the right to change the schema; run it after each upgrade."""
    from mainspring.settings import load_settings
    from mainspring.store.upkeep.grants import grants_for

    for statement in grants_for(role, load_settings().database_schema):
        typer.echo(f"{statement};")


@program.command()
def copy(
    source: Annotated[str, typer.Argument(help="sqlite:///path/to/file.db")],
    target: Annotated[str, typer.Argument(help="postgresql://user@host/database")],
) -> None:
    """Copy a whole SQLite store into an empty PostgreSQL store: all of it, or nothing.

    Stop the nodes of the source first. The schema of the target is made where it is missing.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    screen = console()
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn())
    with (
        redirect_stdout(sys.stderr),
        Progress(*columns, console=screen, disable=not screen.is_terminal, redirect_stdout=False) as progress,
    ):
        bars: dict[str, TaskID] = {}

        def tell(done: CopyProgress) -> None:
            if done.table not in bars:
                bars[done.table] = progress.add_task(done.table)
            progress.update(bars[done.table], completed=done.copied, total=done.total)

        copied = asyncio.run(_copy(source, target, tell))
    screen.print(
        "tokens and audit entries hold with the same key only: set MAINSPRING_SECRET_KEY to the content of "
        "the source's .key file"
    )
    screen.print(f"copied {sum(copied.values()):,} rows: " + ", ".join(f"{n:,} {t}" for t, n in copied.items() if n))
    screen.print(f"the store goes on there with MAINSPRING_DATABASE_URL={_shown(target)}", soft_wrap=True)


async def _copy(source: str, target: str, tell: Callable[[CopyProgress], None]) -> dict[str, int]:
    from mainspring.store.upkeep import copy as store_copy
    from mainspring.store.upkeep import schema

    async with AsyncExitStack() as stack:
        from_database = await stack.enter_async_context(_opened(source))
        to_database = await stack.enter_async_context(_opened(target))
        if to_database.dialect_name == "postgresql":
            await schema.upgrade(to_database)
        return await store_copy.copy(from_database, to_database, tell)


def _with_database(work: Callable[[Database], Awaitable[Result]]) -> Result:
    async def opened() -> Result:
        async with _opened() as database:
            return await work(database)

    with redirect_stdout(sys.stderr):
        return asyncio.run(opened())


@asynccontextmanager
async def _opened(url: str | None = None) -> AsyncGenerator[Database]:
    """Open the database of the settings, or another one, whatever its schema."""
    from mainspring.settings import load_settings
    from mainspring.store.engine.database import open_database
    from mainspring.world import RealWorld

    settings = load_settings() if url is None else load_settings(database_url=url)
    if url is None and settings.database_direct_url is not None:
        settings = settings.model_copy(update={"database_url": settings.database_direct_url})
    database = open_database(settings, RealWorld())
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def _shown(url: str) -> str:
    from mainspring.store.engine.postgresql_address import without_password

    return without_password(url)
