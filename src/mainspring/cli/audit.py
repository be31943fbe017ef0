"""`audit`: is it what was written, what does it say, and its old part into a file."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.exit_codes import ExitCode
from mainspring.cli.output import JsonOption, local_time, plain, print_json, print_table
from mainspring.domain.instants import instant_text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mainspring.app import Mainspring
    from mainspring.security.audit_archive import Segment
    from mainspring.security.audit_chain import Verified
    from mainspring.store.auditing.audit_chain import Head
    from mainspring.store.auditing.audit_entries import AuditEntry

program = typer.Typer(help="The audit: verify, list, archive.", no_args_is_help=True)


@program.command()
def verify(
    archives: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]…", help="Archives, in the order of their entries.")
    ] = None,
    heads: Annotated[
        list[str] | None, typer.Option("--head", metavar="SEQ:HASH", help="A head from the log, which must be there.")
    ] = None,
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Verify every entry of the audit and their order; exit 6 with the first place where it is broken."""
    from mainspring.security.audit_chain import BrokenChainError

    noted = [_head(text) for text in heads or ()]

    async def work(app: Mainspring) -> Verified:
        from mainspring.security.audit_archive import verify_archives
        from mainspring.security.audit_chain import verify_store

        key = _audit_key(AccessAtTerminal.of(app))
        with _progress("verified") as tell:
            last = verify_archives(archives or (), key, noted=noted, tell=tell)
            later = noted if last is None else [last, *(head for head in noted if head.sequence > last.sequence)]
            return await verify_store(app.opened.database, key, noted=later, tell=tell)

    try:
        verified = run_connected(lambda: app_or_store(app_path), work)
    except BrokenChainError as error:
        if not as_json:
            raise
        problem = {"sequence": error.sequence, "flaw": error.flaw.value, "explanation": str(error)}
        print_json({"intact": False, "problem": problem})
        raise typer.Exit(ExitCode.INTEGRITY) from None
    if as_json:
        print_json(_as_json(verified))
        return
    typer.echo(_in_words(verified))


@program.command("list")
def list_entries(
    target: Annotated[str | None, typer.Option(metavar="KIND:ID", help="What was done to one thing.")] = None,
    actor: Annotated[str | None, typer.Option(help="What one actor did, or was denied.")] = None,
    most: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 50,
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List entries, the newest first."""
    kind, separator, target_id = (target or "").partition(":")
    if target is not None and not (kind and separator and target_id):
        raise typer.BadParameter(f"{target!r} names no target: write KIND:ID, for instance job:nightly")

    async def work(app: Mainspring) -> list[AuditEntry]:
        from mainspring.store.auditing import audit_chain

        scope = app.commands_and_actor()[1].scope
        return await app.opened.database.read(
            lambda connection: audit_chain.latest(
                connection, scope, actor=actor, target=(kind, target_id) if target else None, most=most
            )
        )

    found = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([_record(entry) for entry in found])
        return
    print_table(
        ("at", "actor", "action", "target", "allowed", "reason", "change"),
        (
            (
                local_time(entry.at),
                plain(entry.actor),
                entry.action,
                plain(f"{entry.target_kind}:{entry.target_id}"),
                "yes" if entry.allowed else "[red]no[/]",
                None if entry.reason is None else plain(entry.reason),
                _change(entry),
            )
            for entry in found
        ),
        empty="no entries",
    )


@program.command()
def archive(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")],
    before: Annotated[
        str,
        typer.Option(metavar="TIME", help="What was sealed before this instant: 2027-01-01, or with time and zone."),
    ],
) -> None:
    """Move the oldest part of the audit into a file: written, verified, and only then removed from the store.

    It needs the rights of the schema's owner, for which it takes MAINSPRING_DATABASE_DIRECT_URL where that is set.
    """
    instant = _instant(before)

    def as_owner() -> Mainspring:
        from mainspring.app import Mainspring
        from mainspring.settings import load_settings

        settings = load_settings()
        return Mainspring(database_url=settings.database_direct_url or settings.database_url)

    async def work(app: Mainspring) -> Segment:
        from mainspring.security.audit_archive import archive as archive_before

        access = AccessAtTerminal.of(app)
        with _progress("written") as tell:
            return await archive_before(
                app.opened.database,
                access.audit,
                access.actor,
                _audit_key(access),
                before=instant,
                path=path,
                tell=tell,
            )

    segment = run_connected(as_owner, work)
    typer.echo(
        f"{path} holds the entries {segment.before.sequence + 1} to {segment.last.sequence}; the store goes on from "
        f"there. Verify both: mainspring audit verify {path}"
    )


def _audit_key(access: AccessAtTerminal) -> bytes:
    from mainspring.security.secret_key import Purpose

    return access.secret_key.derive(Purpose.AUDIT)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time: write it as 2027-01-01 or 2027-01-01T12:00:00Z") from error
    return instant.astimezone(UTC)


def _head(text: str) -> Head:
    from mainspring.store.auditing.audit_chain import Head

    try:
        return Head.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@contextmanager
def _progress(done: str) -> Generator[Callable[[int, int], None]]:
    """Draw a bar while something goes on, on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as progress:
        bar = progress.add_task(f"entries {done}")
        yield lambda completed, total: progress.update(bar, completed=completed, total=total)


def _in_words(verified: Verified) -> str:
    waiting = ""
    if verified.waiting_since is not None:
        waiting = (
            f"; {verified.waiting:,} more wait for their seal, the oldest since "
            f"{instant_text(verified.waiting_since)}: a node that runs seals them within a second"
        )
    return (
        f"the audit is intact: {verified.entries:,} entries from sequence {verified.before.sequence + 1}{waiting}\n"
        f"head: {verified.head}"
    )


def _as_json(verified: Verified) -> dict[str, Any]:
    return {
        "intact": True,
        "entries": verified.entries,
        "first": verified.before.sequence + 1,
        "head": {"sequence": verified.head.sequence, "chainHash": verified.head.chain_hash},
        "waiting": verified.waiting,
        "waitingSince": instant_text(verified.waiting_since),
    }


def _change(entry: AuditEntry) -> str | None:
    if entry.before is None and entry.after is None:
        return None
    return plain(" → ".join(text for text in (entry.before, entry.after) if text is not None))


def _record(entry: AuditEntry) -> dict[str, Any]:
    import orjson

    def value(text: str | None) -> object:
        return None if text is None else orjson.loads(text)

    return {
        "id": entry.id,
        "at": instant_text(entry.at),
        "actor": entry.actor,
        "actorKind": entry.actor_kind,
        "organizationId": entry.organization_id,
        "action": entry.action,
        "target": {"kind": entry.target_kind, "id": entry.target_id},
        "allowed": entry.allowed,
        "reason": entry.reason,
        "before": value(entry.before),
        "after": value(entry.after),
        "requestId": entry.request_id,
        "address": entry.address,
    }
