"""`doctor`: whether this deployment can work, and what to do where it cannot."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from mainspring.cli.exit_codes import ExitCode, exit_code_of
from mainspring.cli.output import JsonOption, plain, print_json, print_table
from mainspring.errors import MainspringError

if TYPE_CHECKING:
    from mainspring.settings import Settings
    from mainspring.store.database import Database
    from mainspring.store.diagnosis import LiveNode
    from mainspring.world import World

_LEAST_FREE_BYTES: Final = 1_000_000_000
_MOST_OFFSET_SECONDS: Final = 1.0
_MOST_NODE_OFFSET_SECONDS: Final = 5.0
_NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.s3fs", "fuse.sshfs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
)


class Verdict(StrEnum):
    """What was found."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question.

    Attributes:
        check: What was asked.
        verdict: Whether it is well.
        detail: What was found, and what to do where it is not well.
        code: How the command ends because of it.
    """

    check: str
    verdict: Verdict
    detail: str
    code: ExitCode = ExitCode.OK


def doctor(*, as_json: JsonOption = False) -> None:
    """Examine the database of this deployment, and end with the code of the first thing that is wrong."""
    from mainspring.settings import load_settings
    from mainspring.world import RealWorld

    with redirect_stdout(sys.stderr):
        findings = asyncio.run(examine(load_settings(), RealWorld()))
    if as_json:
        checks = [{"check": f.check, "verdict": f.verdict, "detail": f.detail} for f in findings]
        print_json({"ok": all(f.verdict is not Verdict.FAILED for f in findings), "checks": checks})
    else:
        colours = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "red"}
        rows = ((f.check, f"[{colours[f.verdict]}]{f.verdict}[/]", plain(f.detail)) for f in findings)
        print_table(("check", "", "found"), rows, empty="nothing was asked")
    failed = [finding.code for finding in findings if finding.verdict is Verdict.FAILED]
    if failed:
        raise typer.Exit(failed[0])


async def examine(settings: Settings, world: World) -> Sequence[Finding]:
    """Ask everything, as far as the answers allow."""
    from mainspring.store.database import open_database

    findings = list(_of_files(settings))
    database = open_database(settings, world)
    try:
        await database.open()
    except MainspringError as error:
        return [*findings, Finding("reachable", Verdict.FAILED, str(error), exit_code_of(error))]
    try:
        return [*findings, *await _of_database(database, world)]
    except MainspringError as error:
        return [*findings, Finding("database", Verdict.FAILED, str(error), exit_code_of(error))]
    finally:
        await database.close()


def _of_files(settings: Settings) -> Sequence[Finding]:
    """Examine the disk, where the database is a file."""
    path = _sqlite_path(settings)
    if path is None:
        return ()
    folder = path.resolve().parent
    if not folder.is_dir():
        return (Finding("folder", Verdict.FAILED, f"{folder} is not there: make it", ExitCode.DATABASE_UNREACHABLE),)
    free = shutil.disk_usage(folder).free
    verdict = Verdict.OK if free >= _LEAST_FREE_BYTES else Verdict.WARNING
    findings = [Finding("disk space", verdict, f"{free / 1e9:.1f} GB are free in {folder}")]
    kind = _file_system_of(folder)
    if kind in _NETWORK_FILE_SYSTEMS:
        told = f"{folder} is on {kind}, where the locks of SQLite do not hold: use a local disk, or PostgreSQL"
        findings.append(Finding("file system", Verdict.FAILED, told, ExitCode.INTEGRITY))
    elif kind is not None:
        findings.append(Finding("file system", Verdict.OK, f"{folder} is on {kind}, not on a network"))
    return findings


async def _of_database(database: Database, world: World) -> Sequence[Finding]:
    from mainspring.store import diagnosis, schema

    version = await database.read(diagnosis.server_version)
    findings = [Finding("reachable", Verdict.OK, version.partition(" on ")[0])]
    offset = abs((await database.read(diagnosis.present_instant) - world.now()).total_seconds())
    verdict = Verdict.OK if offset <= _MOST_OFFSET_SECONDS else Verdict.WARNING
    findings.append(Finding("clock", verdict, f"this host's clock differs from the database's by {offset:.3f} s"))
    state = await schema.check(database)
    if state.status is not schema.SchemaStatus.CURRENT:
        return [*findings, Finding("schema", Verdict.FAILED, state.description, ExitCode.SCHEMA_MISMATCH)]
    findings.append(Finding("schema", Verdict.OK, state.description))
    await database.tx(diagnosis.try_to_write)
    findings.append(Finding("writable", Verdict.OK, "a statement that writes was accepted"))
    nodes = await database.read(diagnosis.live_nodes)
    if not nodes:
        told = "none: start one with `mainspring serve --app package.module:name`"
        return [*findings, Finding("nodes alive", Verdict.WARNING, told)]
    return [*findings, *(_of_node(node) for node in nodes)]


def _of_node(node: LiveNode) -> Finding:
    offset = node.clock_offset_ms / 1000
    told = (
        f"{node.name} on {node.host}, process {node.pid}: {' '.join(node.roles)}, version {node.version}, "
        f"{node.slots} slots, clock {offset:+.3f} s from the database's"
    )
    return Finding("node alive", Verdict.OK if abs(offset) <= _MOST_NODE_OFFSET_SECONDS else Verdict.WARNING, told)


def _sqlite_path(settings: Settings) -> Path | None:
    path = settings.database_url.partition("://")[2].removeprefix("/").partition("?")[0]
    return Path(path) if settings.is_sqlite and path not in {"", ":memory:"} else None


def _file_system_of(folder: Path) -> str | None:
    """Return the kind of file system that a folder is on; None where this system does not say."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    kinds = {fields[1].replace("\\040", " "): fields[2] for fields in map(str.split, mounts)}
    return next((kinds[str(place)] for place in (folder, *folder.parents) if str(place) in kinds), None)
