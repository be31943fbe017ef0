"""Exports in object storage, by the extra `objects`: Amazon S3 and what speaks like it, Google Cloud, Azure."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from mainspring.errors import ConfigurationError
from mainspring.reports.storage import (
    ExportNotFoundError,
    ExportSupersededError,
    StoredExport,
    is_file_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from obstore import ObjectMeta
    from obstore.store import ObjectStore

_BLOCK: Final = 1024 * 1024
_UPLOADS_AT_ONCE: Final = 2
"""Each holds 5 MB."""
_PARTS: Final = ".parts"


def open_bucket(address: str) -> ObjectStore:
    """Return the bucket at an address, without asking for anything there.

    Keys and endpoints come from the environment variables of its provider, such as `AWS_ACCESS_KEY_ID`.

    Raises:
        ConfigurationError: The address is of no known kind.
    """
    try:
        return from_url(address)
    except (BaseError, ValueError) as trouble:
        raise ConfigurationError(
            f"MAINSPRING_EXPORT_DIR: {address} cannot be opened: {trouble}. Write a folder, or `s3://bucket/prefix`, "
            "`gs://bucket/prefix`, `az://account/container/prefix`"
        ) from trouble


class ObjectStorage:
    """A bucket, or a prefix in one; see `ExportStorage`.

    An export is written to a local file first, uploaded under a hidden name, and renamed there when it is whole. Beside
    it lies an empty object for the attempt, which a newer attempt removes: the older one then no longer publishes.

    Args:
        bucket: The bucket.
        scratch: A local folder for what lies on disk while an export is made.
    """

    def __init__(self, bucket: ObjectStore, *, scratch: Path) -> None:
        self._bucket = bucket
        self.scratch = scratch

    def prepare(self, execution_id: UUID, fence: int) -> None:
        """Remove what earlier attempts of this execution left."""
        for found in self._listed(f"{_PARTS}/{execution_id}"):
            if int(found["path"].rpartition("/")[2].partition(".")[0]) <= fence:
                self._delete(found["path"])

    def begin(self, execution_id: UUID, fence: int) -> PendingUpload:
        """Begin a local file, and say in the bucket that this attempt writes."""
        return PendingUpload(self._bucket, f"{_PARTS}/{execution_id}/{fence}", self.scratch)

    def find(self, name: str) -> StoredExport:
        """Return the finished export of that name.

        Raises:
            ExportNotFoundError: There is no such object at the top of the bucket or prefix.
        """
        missing = ExportNotFoundError(f"there is no export file {name!r}")
        if not is_file_name(name):
            raise missing
        try:
            facts = obstore.head(self._bucket, name)
        except FileNotFoundError:
            raise missing from None
        etag = (facts["e_tag"] or f"{facts['last_modified'].timestamp()}-{facts['size']}").strip('"')
        return StoredExport(
            facts["size"], facts["last_modified"], f'"{etag}"', partial(self._read, name), close=lambda: None
        )

    def _read(self, name: str, first: int, last: int) -> Iterator[bytes]:
        part = obstore.get(self._bucket, name, options={"range": (first, last + 1)})
        yield from map(bytes, part.stream(min_chunk_size=_BLOCK))

    def remove(self, name: str) -> None:
        """Remove a finished export; nothing happens when it is gone already."""
        if is_file_name(name):
            self._delete(name)

    def remove_older(self, *, exports: datetime, leftovers: datetime) -> int:
        """Remove finished exports and half-written files from before these instants, and return how many."""
        old = [found["path"] for found in self._listed(_PARTS) if found["last_modified"] < leftovers]
        finished = obstore.list_with_delimiter(self._bucket, return_arrow=False)["objects"]  # pyright: ignore[reportUnknownMemberType] - of its other overload
        old += [found["path"] for found in finished if is_file_name(found["path"]) and found["last_modified"] < exports]
        for path in old:
            self._delete(path)
        return len(old)

    def _listed(self, prefix: str) -> list[ObjectMeta]:
        pages = obstore.list(self._bucket, prefix, return_arrow=False)  # pyright: ignore[reportUnknownMemberType] - of its other overload
        return [found for page in pages for found in page]

    def _delete(self, path: str) -> None:
        with suppress(FileNotFoundError):  # somebody was quicker
            obstore.delete(self._bucket, path)


class PendingUpload:
    """A local file on its way to a bucket; see `PendingExport`.

    Args:
        bucket: Where it is going.
        marker: The hidden name of its attempt there.
        scratch: The folder of the local file.

    Attributes:
        file: Where the bytes go.
    """

    def __init__(self, bucket: ObjectStore, marker: str, scratch: Path) -> None:
        self._bucket = bucket
        self._marker = marker
        self._upload = f"{marker}.data"
        obstore.put(bucket, marker, b"")
        self.file: BinaryIO = TemporaryFile(dir=scratch)  # noqa: SIM115 - closed by publish or discard

    def publish(self, name: str) -> int:
        """Upload the file, and give it its name when it is there.

        Returns:
            Bytes in the file.

        Raises:
            ExportSupersededError: A newer attempt of the same execution has begun.
        """
        size = self.file.seek(0, 2)
        self.file.seek(0)
        obstore.put(self._bucket, self._upload, self.file, max_concurrency=_UPLOADS_AT_ONCE)
        try:
            obstore.head(self._bucket, self._marker)
            obstore.rename(self._bucket, self._upload, name)
        except FileNotFoundError:
            raise ExportSupersededError(f"{name}: a newer attempt of its execution writes it now") from None
        return size

    def discard(self) -> None:
        """Remove what is left of it, in the bucket and here."""
        self.file.close()
        for path in (self._marker, self._upload):
            with suppress(FileNotFoundError):  # published, or removed by a newer attempt
                obstore.delete(self._bucket, path)
