"""The memory limit and the CPU limit of a job, set in the child process of its attempt before the handler begins."""

from __future__ import annotations

import math
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mainspring.errors import DefinitionError

if TYPE_CHECKING:
    from mainspring.domain.job import JobDefinition


def limit_resources(definition: JobDefinition) -> None:
    """Set the limits of a job on this process; what the handler starts inherits them.

    Raises:
        DefinitionError: The process is larger than its memory limit before the handler begins.
    """
    if definition.cpu_limit is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = math.ceil(used.ru_utime + used.ru_stime + definition.cpu_limit.total_seconds())
        lower_limit(resource.RLIMIT_CPU, seconds)
    if definition.memory_limit is not None:
        size = address_space()
        if size >= definition.memory_limit:
            raise DefinitionError(
                f"job {definition.name!r}: memory_limit is {definition.memory_limit:,} bytes of address space, and its "
                f"process has {size:,} before the handler begins: set it higher"
            )
        lower_limit(resource.RLIMIT_AS, definition.memory_limit)


def lower_limit(kind: int, value: int) -> None:
    """Set the soft limit of a resource, which the process may lift again, within the hard one."""
    _, hard_limit = resource.getrlimit(kind)
    soft_limit = value if hard_limit == resource.RLIM_INFINITY else min(value, hard_limit)
    resource.setrlimit(kind, (soft_limit, hard_limit))


def address_space() -> int:
    """Return the bytes of address space that this process uses; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()
