"""Rows on their way from one step of an export to the next: on disk, so that memory holds one chunk of them."""

from __future__ import annotations

from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from mainspring.reports.chunk import Chunk

if TYPE_CHECKING:
    from pathlib import Path


class Spool:
    """A file without a name, of chunks that each step reads in their order and may replace.

    No other program can reach a file without a name, so that what is read there is what was written; the system removes
    it when the process ends, however it ends.

    Args:
        folder: A folder of the file system that is to hold it.
    """

    def __init__(self, folder: Path) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - lives from one step to another; see close
        self._places: list[tuple[int, int]] = []  # offset and length

    def __len__(self) -> int:
        """Return the number of chunks."""
        return len(self._places)

    def append(self, chunk: Chunk) -> None:
        """Add a chunk at the end.

        Raises:
            TypeError: A value cannot be pickled (or AttributeError, PicklingError: pickle does not decide).
        """
        self._places.append(self._written(chunk))

    def read(self, number: int) -> Chunk:
        """Return a chunk by its number, from 0."""
        offset, length = self._places[number]
        self._file.seek(offset)
        return Chunk.unpacked(self._file.read(length))

    def replace(self, number: int, chunk: Chunk) -> None:
        """Put a chunk in the place of another; the room that the old one takes is given back at the end."""
        self._places[number] = self._written(chunk)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def _written(self, chunk: Chunk) -> tuple[int, int]:
        data = chunk.packed()
        offset = self._file.seek(0, 2)
        self._file.write(data)
        return offset, len(data)
