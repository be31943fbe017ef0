"""`validate-env`: the settings, the variables that the application declares, the secret key, and room on the disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mainspring.builtin.self_check_finding import Finding, Verdict
from mainspring.errors import ConfigurationError, DatabaseUnreachableError, IntegrityError
from mainspring.settings import PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mainspring.jobs.variable import Variable

_LITTLE_BYTES: Final = 1_000_000_000
_LEAST_BYTES: Final = 50_000_000
_NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.s3fs", "fuse.sshfs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
)


def examine_environment(settings: Settings, variables: Iterable[Variable]) -> list[Finding]:
    """Look at what the process was given, and at the machine under it.

    Args:
        settings: The settings in force; they have been read, so that each is of its type.
        variables: What the application declares.
    """
    return [_of_settings(settings), *_of_variables(variables), *_of_secret_key(settings), *_of_disks(settings)]


def _of_settings(settings: Settings) -> Finding:
    given = {name: field for name, field in Settings.model_fields.items() if name in settings.model_fields_set}
    told = ", ".join(f"{PREFIX}{name.upper()} ({_type_name(field.annotation)})" for name, field in given.items())
    return Finding("settings", Verdict.OK, f"each is of its type; set are: {told or 'none, all have their defaults'}")


def _type_name(annotation: object) -> str:
    return str(getattr(annotation, "__name__", annotation)).replace(" | None", "")


def _of_variables(variables: Iterable[Variable]) -> Sequence[Finding]:
    declared = list(variables)
    problems = [problem for each in declared if (problem := each.problem(os.environ)) is not None]
    if problems:
        return [Finding.of_error("variables", ConfigurationError(problem)) for problem in problems]
    if not declared:
        return []
    told = ", ".join(f"{each.name} ({each.type_name})" for each in declared)
    return [Finding("variables", Verdict.OK, f"what the application declares is there, each of its type: {told}")]


def _of_secret_key(settings: Settings) -> Sequence[Finding]:
    if settings.secret_key is not None or settings.is_sqlite:  # SQLite gets one beside its file
        return []
    missing = f"{PREFIX}SECRET_KEY is not set: nodes with an API do not start; make one with `openssl rand -hex 32`"
    return [Finding("secret key", Verdict.WARNING, missing)]


def _of_disks(settings: Settings) -> Sequence[Finding]:
    """Look at the disks that are written to: that of an SQLite file, and that of exports where it is a local one."""
    database = sqlite_path(settings)
    findings: list[Finding] = []
    if database is not None:
        folder = database.resolve().parent
        if not folder.is_dir():
            return [Finding.of_error("folder", DatabaseUnreachableError(f"{folder} is not there: make it"))]
        findings = [_of_room("disk space", folder), *_of_file_system(folder)]
    if "://" not in settings.export_dir:
        exports = Path(settings.export_dir).resolve()
        existing = next(folder for folder in (exports, *exports.parents) if folder.is_dir())
        findings.append(_of_room("disk space for exports", existing))
    return findings


def _of_room(check: str, folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB are free in {folder}"
    if free < _LEAST_BYTES:
        return Finding.of_error(check, IntegrityError(f"{detail}: make room, or writes will soon fail"))
    return Finding(check, Verdict.OK if free >= _LITTLE_BYTES else Verdict.WARNING, detail)


def _of_file_system(folder: Path) -> Sequence[Finding]:
    kind = _file_system_of(folder)
    if kind in _NETWORK_FILE_SYSTEMS:
        told = f"{folder} is on {kind}, where the locks of SQLite do not hold: use a local disk, or PostgreSQL"
        return [Finding.of_error("file system", IntegrityError(told))]
    return [] if kind is None else [Finding("file system", Verdict.OK, f"{folder} is on {kind}, not on a network")]


def sqlite_path(settings: Settings) -> Path | None:
    """Return the file of an SQLite database; None: it is in memory, or the database is another one."""
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
