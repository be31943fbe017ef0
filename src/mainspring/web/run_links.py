"""Addresses of lists of runs: every number of the dashboard leads to the runs that it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from mainspring.domain.run_filter import Term

if TYPE_CHECKING:
    from mainspring.domain.look_back import LookBack


def runs_path(*terms: str) -> str:
    """Return the path of the runs that all of some terms of the filter language describe.

    Example:
        >>> runs_path("status:failed", term("job", "nightly export"))
        '/runs?q=status%3Afailed+job%3A%22nightly+export%22'
    """
    return f"/runs?{urlencode({'q': ' '.join(terms)})}" if terms else "/runs"


def term(key: str, value: str) -> str:
    """Return a term of the filter language, quoted where the value would be read as more than one word.

    Example:
        >>> term("queue", "night shift")
        'queue:"night shift"'
    """
    return Term(key, (value,)).text


def since(looked: LookBack) -> str:
    """Return the term for runs that ended within a span."""
    return f"ended:<{looked.key}"


def runs_address(page: str, **said: str) -> str:
    """Return a page with what its address says.

    Example:
        >>> runs_address("/runs/table", q="status:failed")
        '/runs/table?q=status%3Afailed'
    """
    return f"{page}?{urlencode(said)}" if said else page
