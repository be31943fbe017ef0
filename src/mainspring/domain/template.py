"""Templates of jobs: requests that the application has prepared, of which a caller says only what differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class JobTemplate:
    """A prepared request.

    Attributes:
        name: What `template` calls it.
        job_name: The job that it asks for.
        description: What it is for, one sentence.
        payload: What the job is to work on, in JSON; a request is merged over it.
        priority: -100 to 100; None: the default.
        max_retries: 0 to 20; None: the job's own.
        queue: None: the job's own.
    """

    name: str
    job_name: str
    description: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict[str, Any])
    priority: int | None = None
    max_retries: int | None = None
    queue: str | None = None

    def payload_with(self, request: object) -> object:
        """Return the payload of a request: the template's, with what the request says merged over it.

        It follows JSON Merge Patch (RFC 7396): objects are merged field by field, null takes a field out, and whatever
        else the request has stands in place of what the template has.

        Example:
            >>> monthly = JobTemplate("monthly", "export_report", payload={"format": "csv", "filters": {"desk": 1}})
            >>> monthly.payload_with({"filters": {"day": "2024-01-30"}})
            {'format': 'csv', 'filters': {'desk': 1, 'day': '2024-01-30'}}
            >>> monthly.payload_with({"filters": None})
            {'format': 'csv'}
        """
        return _merged(self.payload, {} if request is None else request)


def _merged(target: object, patch: object) -> object:
    if not isinstance(patch, dict):
        return patch
    merged = dict(cast("dict[str, object]", target)) if isinstance(target, dict) else {}
    for name, value in cast("dict[str, object]", patch).items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged
