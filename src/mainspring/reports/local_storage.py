"""Exports in one local folder, in which a file has its name only once it is whole."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from mainspring.reports.storage import (
    ExportNotFoundError,
    ExportSupersededError,
    StoredExport,
    hidden_name,
    is_file_name,
    is_leftover,
    is_superseded,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

_BLOCK: Final = 256 * 1024


class LocalStorage:
    """The folder of finished exports, and of those being written under hidden names; see `ExportStorage`.

    Nodes on several machines share the folder, or use object storage.

    Args:
        folder: The folder; it is made when first needed, open to the owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder

    def prepare(self, execution_id: UUID, fence: int) -> None:
        """Make the folder, and remove what earlier attempts of this execution left half-written."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if is_superseded(entry.name, execution_id, fence):
                    Path(entry).unlink(missing_ok=True)

    def begin(self, execution_id: UUID, fence: int) -> PendingFile:
        """Open a new file under a hidden name of this attempt's own."""
        return PendingFile(self.folder / hidden_name(execution_id, fence))

    def find(self, name: str) -> StoredExport:
        """Return the finished export of that name, opened; whoever asks for it closes it.

        Raises:
            ExportNotFoundError: There is no such file in the folder itself.
        """
        file = self._opened(name)
        facts = os.fstat(file.fileno())

        def read(first: int, last: int) -> Iterator[bytes]:
            file.seek(first)
            left = last - first + 1
            while left > 0 and (block := file.read(min(left, _BLOCK))):
                left -= len(block)
                yield block

        modified_at = datetime.fromtimestamp(facts.st_mtime, UTC)
        etag = f'"{facts.st_mtime_ns:x}-{facts.st_ino:x}-{facts.st_size:x}"'
        return StoredExport(facts.st_size, modified_at, etag, read, file.close)

    def _opened(self, name: str) -> BinaryIO:
        missing = ExportNotFoundError(f"there is no export file {name!r}")
        folder = Path(os.path.realpath(self.folder))
        path = folder / name if is_file_name(name) else None
        if path is None or Path(os.path.realpath(path)) != path or not path.is_file():
            raise missing
        try:
            return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
        except FileNotFoundError:  # removed since
            raise missing from None

    def remove(self, name: str) -> None:
        """Remove a finished export; nothing happens when it is gone already."""
        if is_file_name(name):
            (self.folder / name).unlink(missing_ok=True)

    def remove_older(self, *, exports: datetime, leftovers: datetime) -> int:
        """Remove finished exports and half-written files from before these instants, and return how many."""
        if not self.folder.is_dir():
            return 0
        with os.scandir(self.folder) as entries:
            old = [entry for entry in entries if _is_older(entry, exports=exports, leftovers=leftovers)]
        for entry in old:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry, ignore_errors=True)
            else:
                Path(entry).unlink(missing_ok=True)
        return len(old)


def _is_older(entry: os.DirEntry[str], *, exports: datetime, leftovers: datetime) -> bool:
    if is_file_name(entry.name):
        limit = exports
    elif is_leftover(entry.name):
        limit = leftovers
    else:
        return False
    try:
        return entry.stat(follow_symlinks=False).st_mtime < limit.timestamp()
    except FileNotFoundError:  # another node was quicker
        return False


class PendingFile:
    """A file on its way; see `PendingExport`.

    Args:
        path: The hidden name, which must not be taken.

    Attributes:
        file: Where the bytes go.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file: BinaryIO = os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")

    def publish(self, name: str) -> int:
        """Make the bytes durable and give the file its name in one step.

        Returns:
            Bytes in the file.

        Raises:
            ExportSupersededError: A newer attempt of the same execution has removed the file.
        """
        self.file.flush()
        os.fsync(self.file.fileno())
        size = self.file.tell()
        self.file.close()
        try:
            self._path.rename(self._path.with_name(name))
        except FileNotFoundError:
            raise ExportSupersededError(f"{name}: a newer attempt of its execution writes it now") from None
        _sync_folder(self._path.parent)  # the name itself must survive a power cut, too
        return size

    def discard(self) -> None:
        """Remove the file, unless it was published."""
        self.file.close()
        self._path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
