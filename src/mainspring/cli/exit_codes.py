"""What the exit code of a command tells (contract §3), from one table."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from mainspring.errors import (
    ConfigurationError,
    DatabaseUnreachableError,
    DefinitionError,
    IntegrityError,
    MainspringError,
    SchemaMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    """Given by typer, for arguments that cannot be read."""
    CONFIGURATION = 3
    DATABASE_UNREACHABLE = 4
    SCHEMA_MISMATCH = 5
    INTEGRITY = 6


_CODES: Final[Mapping[type[BaseException], ExitCode]] = {
    MainspringError: ExitCode.FAILED,
    ConfigurationError: ExitCode.CONFIGURATION,
    DefinitionError: ExitCode.CONFIGURATION,
    DatabaseUnreachableError: ExitCode.DATABASE_UNREACHABLE,
    SchemaMismatchError: ExitCode.SCHEMA_MISMATCH,
    IntegrityError: ExitCode.INTEGRITY,
}


def exit_code_of(error: MainspringError) -> ExitCode:
    """Return the exit code for an error: that of its class, or of the nearest class above it.

    Example:
        >>> exit_code_of(DatabaseUnreachableError("the server is down")).name
        'DATABASE_UNREACHABLE'
    """
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
