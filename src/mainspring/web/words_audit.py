"""The words of the audit log."""

from __future__ import annotations

from typing import Final


class AuditWords:
    """What the audit log says."""

    title = "Audit log"
    lead = "Who did or was denied what. Entries are only ever added, and a chain of hashes shows what was touched."
    actor = "Actor"
    action = "Action"
    action_hint = "for instance job.disable, or job. for all of jobs"
    target = "Object"
    target_hint = "kind:id, for instance job:digest"
    since = "From"
    until = "Until"
    outcome = "Outcome"
    any_outcome = "any"
    allowed = "allowed"
    denied = "denied"
    filter = "Filter"
    reset = "Show everything"
    export = "Export CSV"
    at = "When"
    change = "Old → new"
    reason = "Reason"
    origin = "From where"
    none = "No entry matches"
    none_hint = "Leave out a filter, or show everything."
    older = "Older"
    newest = "Newest"
    chain = "Chain"
    chain_sealed = "Sealed up to entry {sequence}"
    chain_empty = "Nothing is sealed yet"
    chain_waiting = "{waiting} wait for their seal"
    verify = "Verify"
    verified = "Verified up to entry {sequence} by {actor}: {entries} entries are what was written, in their order."
    broken = "Broken: {explanation}"
    bad_time = "is no time: write 2026-11-22 or 2026-11-22T14:00"


AUDIT: Final = AuditWords()
