"""Where export files lie: one local folder, in which a file has its name only once it is whole."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from mainspring.errors import MainspringError

if TYPE_CHECKING:
    from datetime import date
    from uuid import UUID

DOWNLOAD_PATH: Final = "/api/v1/exports"
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class ExportNotFoundError(MainspringError):
    """There is no export file of that name. A name that points elsewhere gets the same answer."""

    code = "EXPORT_NOT_FOUND"


def file_name(report: str, day: date, execution_id: UUID, extension: str) -> str:
    """Return the name of an export file, `{report}_{date}_{execution id}.{extension}`.

    Example:
        >>> from datetime import date
        >>> from uuid import UUID
        >>> file_name("quotes", date(2024, 1, 30), UUID(int=7), "csv")
        'quotes_2024-01-30_00000000-0000-0000-0000-000000000007.csv'
    """
    return f"{report}_{day.isoformat()}_{execution_id}.{extension}"


def download_url(name: str) -> str:
    """Return the address, on this host, at which the file of that name is downloaded."""
    return f"{DOWNLOAD_PATH}/{name}"


class ExportStorage:
    """The folder of finished exports, and of those being written under hidden names.

    All methods touch the disk: call them from a thread.

    Args:
        folder: The folder; it is made when first needed, open to the owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self, execution_id: UUID, fence: int) -> None:
        """Make the folder, and remove what earlier attempts of this execution left half-written.

        An earlier attempt that does not know yet that it lost its lease can then no longer publish; a newer one is left
        alone.

        Args:
            execution_id: The execution that is about to write.
            fence: The fence of its attempt.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.scandir(self.folder) as entries:
            for entry in entries:
                prefix, _, rest = entry.name.partition(f".{execution_id}.")
                number, dot, suffix = rest.partition(".")
                is_partial = not prefix and dot and suffix == "part" and number.isdecimal()
                if is_partial and int(number) <= fence:
                    Path(entry).unlink(missing_ok=True)

    def begin(self, execution_id: UUID, fence: int) -> PendingExport:
        """Open a new file under a hidden name of this attempt's own."""
        return PendingExport(self.folder / f".{execution_id}.{fence}.part")

    def path_of(self, name: str) -> Path:
        """Return where the finished export of that name lies.

        Args:
            name: A file name as `file_name` makes them; it may come from anybody.

        Raises:
            ExportNotFoundError: There is no such file in the folder itself: not there, hidden, a link, a folder, or a
                name that leads elsewhere.
        """
        folder = Path(os.path.realpath(self.folder))
        path = folder / name if _FILE_NAME.fullmatch(name) else None
        if path is None or Path(os.path.realpath(path)) != path or not path.is_file():
            raise ExportNotFoundError(f"there is no export file {name!r}")
        return path

    def open(self, name: str) -> BinaryIO:
        """Open the finished export of that name for reading.

        Raises:
            ExportNotFoundError: As for `path_of`.
        """
        path = self.path_of(name)
        try:
            return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
        except FileNotFoundError as missing:  # removed since
            raise ExportNotFoundError(f"there is no export file {name!r}") from missing

    def remove(self, name: str) -> None:
        """Remove a finished export; nothing happens when it is gone already."""
        (self.folder / name).unlink(missing_ok=True)


class PendingExport:
    """A file on its way: `publish` gives it its name, `discard` removes it.

    Args:
        path: The hidden name, which must not be taken.

    Attributes:
        file: Where the bytes go.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file: BinaryIO = os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")

    def publish(self, name: str) -> int:
        """Make the bytes durable and give the file its name in one step, so that nobody ever sees half of it.

        Returns:
            Bytes in the file.

        Raises:
            FileNotFoundError: A newer attempt of the same execution has removed the file.
        """
        self.file.flush()
        os.fsync(self.file.fileno())
        size = self.file.tell()
        self.file.close()
        self._path.rename(self._path.with_name(name))
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
