"""Where export files lie: what every kind of place for them can do, and how the files are named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from mainspring.errors import ConfigurationError, MainspringError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date, datetime
    from uuid import UUID

DOWNLOAD_PATH: Final = "/api/v1/exports"
_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FILE_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]*_[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}_{_UUID}\.[a-z]+")
_HIDDEN_NAME: Final = re.compile(rf"\.(?P<execution>{_UUID})\.(?P<fence>[0-9]+)\.part")
_SCRATCH_NAME: Final = re.compile(r"\.mainspring-[A-Za-z0-9_]+\.part")


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


def is_file_name(name: str) -> bool:
    """Whether a name is one that `file_name` makes."""
    return _FILE_NAME.fullmatch(name) is not None


def hidden_name(execution_id: UUID, fence: int) -> str:
    """Return the name under which an attempt writes its file until that is whole."""
    return f".{execution_id}.{fence}.part"


def is_superseded(name: str, execution_id: UUID, fence: int) -> bool:
    """Whether a name is the hidden one of an attempt of that execution, this one or an earlier one."""
    match = _HIDDEN_NAME.fullmatch(name)
    return match is not None and match["execution"] == str(execution_id) and int(match["fence"]) <= fence


def is_leftover(name: str) -> bool:
    """Whether a name is one under which something lies only while an export is being made."""
    return _HIDDEN_NAME.fullmatch(name) is not None or _SCRATCH_NAME.fullmatch(name) is not None


def download_url(name: str) -> str:
    """Return the address, on this host, at which the file of that name is downloaded."""
    return f"{DOWNLOAD_PATH}/{name}"


@dataclass(frozen=True, slots=True)
class StoredExport:
    """A finished export that is there to be read.

    Attributes:
        size: Its bytes.
        modified_at: When it was finished, by the clock of the place.
        etag: What changes whenever its bytes change; a strong validator (RFC 9110 §8.8.1), in its quotes.
        read: Yields the bytes from a first to a last one, both inclusive and from 0; it touches the place: in a thread.
        close: Gives back what it holds open; in a thread, too.
    """

    size: int
    modified_at: datetime
    etag: str
    read: Callable[[int, int], Iterator[bytes]]
    close: Callable[[], None]


class PendingExport(Protocol):
    """A file on its way: `publish` gives it its name, `discard` removes it.

    Attributes:
        file: Where the bytes go.
    """

    file: BinaryIO

    def publish(self, name: str) -> int:
        """Make the bytes durable and give the file its name in one step, so that nobody ever sees half of it.

        Returns:
            Bytes in the file.

        Raises:
            ExportSupersededError: A newer attempt of the same execution has begun.
        """
        ...

    def discard(self) -> None:
        """Remove the file, unless it was published."""
        ...


class ExportSupersededError(MainspringError):
    """A newer attempt of the same execution has begun: what this one has written is thrown away."""

    code = "EXPORT_SUPERSEDED"


class ExportStorage(Protocol):
    """A place for finished exports, and for those being written under hidden names.

    All methods touch the disk or the network: call them from a thread.

    Attributes:
        scratch: A folder of this machine for what lies on disk while an export is made.
    """

    scratch: Path

    def prepare(self, execution_id: UUID, fence: int) -> None:
        """Remove what earlier attempts of this execution left half-written.

        An earlier attempt that does not know yet that it lost its lease can then no longer publish; a newer one is left
        alone.

        Args:
            execution_id: The execution that is about to write.
            fence: The fence of its attempt.
        """
        ...

    def begin(self, execution_id: UUID, fence: int) -> PendingExport:
        """Open a new file under a hidden name of this attempt's own."""
        ...

    def find(self, name: str) -> StoredExport:
        """Return the finished export of that name; whoever asks for it closes it.

        Args:
            name: A file name as `file_name` makes them; it may come from anybody.

        Raises:
            ExportNotFoundError: There is no such file in the place itself: not there, hidden, a link, a folder, or a
                name that leads elsewhere.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a finished export; nothing happens when it is gone already."""
        ...

    def remove_older(self, *, exports: datetime, leftovers: datetime) -> int:
        """Remove what is too old, by the names and times of the files alone.

        Args:
            exports: Finished exports from before this instant are removed.
            leftovers: So are half-written files from before this one, which nobody goes on writing.

        Returns:
            How many were removed.
        """
        ...


def open_storage(place: str) -> ExportStorage:
    """Return the storage at a place, without touching it.

    Args:
        place: A local folder; or a bucket, and a prefix in it, of object storage: `s3://…`, `gs://…` or `az://…`.

    Raises:
        ConfigurationError: The package for object storage is not installed, or does not know the place.
    """
    if "://" not in place:
        from mainspring.reports.local_storage import LocalStorage

        return LocalStorage(Path(place))
    if find_spec("obstore") is None:
        raise ConfigurationError(
            f"MAINSPRING_EXPORT_DIR: {place} needs a package that is not installed: pip install 'mainspring[objects]'"
        )
    from mainspring.reports.object_storage import ObjectStorage, open_bucket

    return ObjectStorage(open_bucket(place), scratch=Path(gettempdir()))
