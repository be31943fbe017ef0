"""Where the events of a test go in the place of Sentry; `tests/cluster/test_sentry.py` has a real receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentry_sdk.transport import Transport

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope


class Kept(Transport):
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep events and check-ins."""
        for item in envelope.items:
            told: Any = item.payload.json
            if told is not None:
                self.told.append(told)


class Broken(Transport):
    """A transport that raises."""

    def capture_envelope(self, envelope: Envelope) -> None:
        """Fail."""
        raise RuntimeError("of the host's own transport")
