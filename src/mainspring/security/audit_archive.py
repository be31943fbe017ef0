"""Archives of the audit: the front of the chain as JSON Lines, which can be verified as long as the key is kept.

The first line tells which part of the chain the file holds, with a MAC of its own; each other line is an entry with its
MAC, its seal and its chain hash.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Final, cast
from uuid import UUID

import orjson

from mainspring.errors import IntegrityError, StoreError
from mainspring.security.audit import Target
from mainspring.security.audit_chain import BrokenChainError, ChainWalk, Flaw, verify_store
from mainspring.store.auditing import audit_archive, audit_chain
from mainspring.store.auditing.audit_chain import Head, SealedEntry
from mainspring.store.auditing.audit_entries import ENTRY_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Database

KIND: Final = "mainspring audit archive"
_PORTION: Final = 5_000
_LINES_PER_TELL: Final = 5_000


@dataclass(frozen=True, slots=True)
class Segment:
    """Which part of the chain an archive holds.

    Attributes:
        before: The head before its first entry.
        last: The head after its last one.
    """

    before: Head
    last: Head

    @property
    def entries(self) -> int:
        """How many entries it holds."""
        return self.last.sequence - self.before.sequence

    def line(self, key: bytes) -> bytes:
        """Return the first line of the file."""
        return orjson.dumps(self._facts() | {"mac": self._mac(key)})

    @classmethod
    def of(cls, line: bytes, key: bytes, path: Path) -> Segment:
        """Return what the first line of a file tells.

        Raises:
            IntegrityError: It is no archive.
            BrokenChainError: The line was changed.
        """
        try:
            facts = _mapping(line)
            segment = cls(Head.parse(facts["before"]), Head.parse(facts["last"]))
            mac = str(facts["mac"])
        except (ValueError, KeyError, AttributeError) as error:
            raise IntegrityError(f"{path} is no archive of an audit: its first line cannot be read") from error
        if not hmac.compare_digest(mac, segment._mac(key)):
            raise BrokenChainError(
                segment.before.sequence + 1,
                Flaw.ARCHIVE_CHANGED,
                f"the first line of {path} was changed, or written with another secret key than the present one",
            )
        return segment

    def _facts(self) -> dict[str, str]:
        return {"kind": KIND, "before": str(self.before), "last": str(self.last)}

    def _mac(self, key: bytes) -> str:
        return hmac.digest(key, orjson.dumps(self._facts()), "sha256").hex()


async def archive(
    database: Database,
    trail: Audit,
    actor: Actor,
    key: bytes,
    *,
    before: datetime,
    path: Path,
    tell: Callable[[int, int], None] | None = None,
) -> Segment:
    """Move the part of the chain that was sealed before an instant into a file.

    The chain is verified first, the file afterwards, and only then the entries are removed, together with an entry that
    tells of it and from which the chain goes on.

    Args:
        database: The store, opened by a role that may remove entries.
        trail: Where the archive is written down.
        actor: Who archives.
        key: The audit key.
        before: The instant.
        path: The file, which must not exist.
        tell: Called with how many entries were written, and how many there are.

    Raises:
        StoreError: The role may not remove entries, nothing is that old, or the file exists or cannot be written.
        BrokenChainError: The chain has a flaw: nothing is archived.
    """
    if not await database.read(audit_archive.may_remove):
        raise StoreError(
            "this role may not remove entries of the audit, as is right for the role of the nodes: run the command "
            "with MAINSPRING_DATABASE_URL naming the owner of the schema"
        )
    verified = await verify_store(database, key)
    last = await database.read(lambda connection: audit_archive.last_sealed_before(connection, before))
    if last is None:
        raise StoreError(f"nothing was sealed before {before.isoformat()}, beside the newest entry, which stays")
    segment = Segment(verified.before, last)
    try:
        file = _new_file(path)
        try:
            with file:
                await _write(database, segment, key, file, tell)
            verify_archive(path, key)
        except BaseException:
            _remove(path)
            raise
    except OSError as error:
        raise StoreError(f"the archive {path} cannot be written: {error.strerror}") from error
    await database.tx(
        lambda connection: (
            audit_archive.remove_through(connection, segment.before.sequence + 1, segment.last),
            trail.record(
                connection,
                actor,
                audit_archive.ARCHIVE_ACTION,
                Target(*audit_archive.ARCHIVE_TARGET),
                after={"last": last.sequence, "chainHash": last.chain_hash},
            ),
        )
    )
    return segment


def _new_file(path: Path) -> IO[bytes]:
    return path.open("xb")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _write(
    database: Database, segment: Segment, key: bytes, file: IO[bytes], tell: Callable[[int, int], None] | None
) -> None:
    file.write(segment.line(key) + b"\n")
    written, last = segment.before.sequence, segment.last.sequence
    while written < last:
        most = min(_PORTION, last - written)
        portion = await database.read(
            lambda connection, after=written, most=most: audit_chain.sealed_after(connection, after, most=most)
        )
        if not portion:
            break  # what is missing is told when the file is verified
        file.writelines(orjson.dumps(_record(sealed)) + b"\n" for sealed in portion)
        written = portion[-1].sequence
        if tell is not None:
            tell(written - segment.before.sequence, segment.entries)
    file.flush()
    os.fsync(file.fileno())


def verify_archive(
    path: Path,
    key: bytes,
    *,
    after: Head | None = None,
    noted: Iterable[Head] = (),
    tell: Callable[[int, int], None] | None = None,
) -> Segment:
    """Verify a file: each entry, the chain, and that it is whole.

    Args:
        path: The file.
        key: The audit key.
        after: The head that it must continue: the end of the archive before; None: any.
        noted: Heads that somebody has noted; those beyond its end do not matter here.
        tell: Called with how many entries were looked at, and how many there are.

    Raises:
        IntegrityError: The file is no archive, or cannot be read.
        BrokenChainError: It has a flaw; the first one is told.
    """
    try:
        with path.open("rb") as file:
            segment = Segment.of(file.readline(), key, path)
            if after not in {None, segment.before}:
                raise BrokenChainError(
                    segment.before.sequence + 1,
                    Flaw.HEAD_DIFFERS,
                    f"{path} does not continue the archive before it, which ends at {after.sequence if after else 0}: "
                    "name the files in the order of their entries, and all of them",
                )
            here = [head for head in noted if segment.before.sequence <= head.sequence <= segment.last.sequence]
            walk = ChainWalk(key, segment.before, [*here, segment.last])
            for sealed in _read(file, path, walk):
                walk.take(sealed)
                if tell is not None and walk.entries % _LINES_PER_TELL == 0:
                    tell(walk.entries, segment.entries)
            walk.end()
    except OSError as error:
        raise IntegrityError(f"the archive {path} cannot be read: {error.strerror}") from error
    return segment


def verify_archives(
    paths: Sequence[Path], key: bytes, *, noted: Sequence[Head] = (), tell: Callable[[int, int], None] | None = None
) -> Head | None:
    """Verify archives that continue each other.

    Returns:
        The head after the last one, which the store must continue; None: there are none.
    """
    last: Head | None = None
    for path in paths:
        last = verify_archive(path, key, after=last, noted=noted, tell=tell).last
    return last


# Lines ---------------------------------------------------------------------------------------------------------------


def _record(sealed: SealedEntry) -> dict[str, Any]:
    facts = sealed.facts
    return {
        "sequence": sealed.sequence,
        "chainHash": sealed.chain_hash,
        "sealedAt": _text(sealed.sealed_at),
        "mac": sealed.mac,
        "entry": None if facts is None else {**facts, "at": _text(facts["at"])},
    }


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds")


def _read(file: Iterable[bytes], path: Path, walk: ChainWalk) -> Iterator[SealedEntry]:
    for line in file:
        try:
            yield _sealed(_mapping(line))
        except (ValueError, KeyError, TypeError) as error:
            raise BrokenChainError(
                walk.head.sequence + 1, Flaw.ARCHIVE_CHANGED, f"the next line of {path} cannot be read"
            ) from error


def _sealed(record: dict[str, Any]) -> SealedEntry:
    facts: dict[str, Any] = {name: record["entry"][name] for name in ENTRY_FIELDS}
    facts.update(id=str(UUID(facts["id"])), at=datetime.fromisoformat(facts["at"]))
    return SealedEntry(
        sequence=int(record["sequence"]),
        chain_hash=str(record["chainHash"]),
        sealed_at=datetime.fromisoformat(record["sealedAt"]),
        entry_id=facts["id"],
        mac=str(record["mac"]),
        facts=facts,
    )


def _mapping(line: bytes) -> dict[str, Any]:
    value = orjson.loads(line)
    if not isinstance(value, dict):
        msg = "a line is no object"
        raise ValueError(msg)  # noqa: TRY004 - as unfit as what is no JSON
    return cast("dict[str, Any]", value)
