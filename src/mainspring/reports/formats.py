"""The formats an export can be written in: each turns chunks of rows into bytes, holding one chunk at a time."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, runtime_checkable

from mainspring.errors import MainspringError, PermanentError
from mainspring.reports.csv_file import Csv
from mainspring.reports.json_lines import JsonLines
from mainspring.reports.parquet import Parquet
from mainspring.reports.xlsx import Xlsx

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from mainspring.reports.chunk import Chunk, ColumnType


class UnknownFormatError(MainspringError):
    """No export format of that name is known."""

    code = "UNKNOWN_FORMAT"


class FormatNotInstalledError(PermanentError):
    """The package that writes a format is not installed; the message says how to get it."""

    code = "FORMAT_NOT_INSTALLED"


class RowWriter(Protocol):
    """Writes one file, a chunk of rows at a time."""

    def write(self, chunk: Chunk) -> None:
        """Write rows, each with all columns of the file."""
        ...

    def finish(self) -> None:
        """Write what belongs at the end; the file stays open."""
        ...

    def close(self) -> None:
        """Give back what it holds besides the file, finished or not."""
        ...


@runtime_checkable
class TupleWriter(RowWriter, Protocol):
    """Writes some rows quicker as they were read than from a chunk."""

    def write_tuples(self, rows: Sequence[Iterable[Any]]) -> bool:
        """Write rows, each with all columns of the file; False: nothing was written, they have to come as a chunk."""
        ...


class Format(Protocol):
    """A way to write an export.

    Attributes:
        name: What a payload calls it.
        extension: The end of the file's name, without the dot.
        media_type: What a download is served as.
        needs_types: Whether its writer has to know the types of all columns before the first row.
    """

    name: str
    extension: str
    media_type: str
    needs_types: bool

    def writer(self, file: BinaryIO, columns: Mapping[str, ColumnType], scratch: Path) -> RowWriter:
        """Begin a file.

        Args:
            file: Where the bytes go.
            columns: What it will hold, in this order; of what type only where `needs_types`.
            scratch: A folder for what has to lie on disk meanwhile.
        """
        ...


FORMATS: Final[Mapping[str, Format]] = {known.name: known for known in (Csv(), JsonLines(), Xlsx(), Parquet())}
"""The formats that can be written, by name."""

_PACKAGE_OF: Final = {"xlsx": "xlsxwriter", "parquet": "pyarrow"}
"""What a format needs besides our own dependencies; the extra is called like the format."""


def format_named(name: str) -> Format:
    """Return the format of that name.

    Raises:
        UnknownFormatError: It is not known; the message lists those that are.
        FormatNotInstalledError: The package that writes it is not installed.

    Example:
        >>> format_named("csv").media_type
        'text/csv; charset=utf-8'
    """
    if name not in FORMATS:
        raise UnknownFormatError(f"there is no export format {name!r} here; known are: {', '.join(sorted(FORMATS))}")
    package = _PACKAGE_OF.get(name)
    if package is not None and find_spec(package) is None:
        raise FormatNotInstalledError(
            f"the export format {name!r} needs a package that is not installed: pip install 'mainspring[{name}]'"
        )
    return FORMATS[name]


def media_type_of(file_name: str) -> str:
    """Return what a file is served as, by the end of its name.

    Example:
        >>> media_type_of("quotes.jsonl")
        'application/x-ndjson'
    """
    extension = file_name.rpartition(".")[2]
    types = {known.extension: known.media_type for known in FORMATS.values()}
    return types.get(extension, "application/octet-stream")
