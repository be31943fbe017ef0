"""Rows on their way from one step of an export to the next: on disk, so that memory holds one chunk of them."""

from __future__ import annotations

import pickle
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pathlib import Path


class Spool:
    """A file without a name that is written once and then read once, in chunks.

    Values keep their types: chunks are pickled. That is safe here because no other program can reach a file without a
    name, which the system also removes when the process ends, however it ends.

    Args:
        folder: A folder of the file system that is to hold it.
    """

    def __init__(self, folder: Path) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - lives from one step to another; see close
        self._reading = False

    def append(self, chunk: list[Any]) -> None:
        """Add rows at the end.

        Raises:
            TypeError: A value cannot be pickled (or AttributeError, PicklingError: pickle does not decide).
        """
        pickle.dump(chunk, self._file, protocol=pickle.HIGHEST_PROTOCOL)

    def next_chunk(self) -> list[Any]:
        """Return the next rows as they were added, from the beginning; none at the end."""
        if not self._reading:
            self._file.seek(0)
            self._reading = True
        try:
            return cast("list[Any]", pickle.load(self._file))  # noqa: S301 - see the class
        except EOFError:
            return []

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()
