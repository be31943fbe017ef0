"""The libraries that `./dev prove peers` measures, each in an environment of its own: their pins conflict."""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
ENVIRONMENTS: Final = ROOT / ".venv" / "proofs" / "peers"


@dataclass(frozen=True, slots=True)
class Peer:
    """A library, or one way to use it.

    Attributes:
        name: Its adapter, `adapters/<name>.py`.
        environment: The file of `requirements/` that it runs on; None: the environment of this project.
        backlog: How many jobs it drains: fewer where it is slow, which flatters it where a deep queue costs more.
    """

    name: str
    environment: str | None
    backlog: int

    @property
    def python(self) -> Path:
        """Its interpreter."""
        if self.environment is None:
            return Path(sys.executable)
        return ENVIRONMENTS / self.environment / "bin" / "python"

    def prepare(self) -> None:
        """Install it, unless it is there as it is asked for."""
        if self.environment is None:
            return
        pins = HERE / "requirements" / f"{self.environment}.txt"
        folder = ENVIRONMENTS / self.environment
        made_of = folder / "made-of.txt"
        if made_of.exists() and made_of.read_text(encoding="utf-8") == pins.read_text(encoding="utf-8"):
            return
        venv.create(folder, with_pip=True, clear=True)
        command = [self.python, "-m", "pip", "--disable-pip-version-check", "install", "-qq", "-r", pins]
        subprocess.run(command, check=True)  # noqa: S603 - our own words
        made_of.write_text(pins.read_text(encoding="utf-8"), encoding="utf-8")


PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer("mainspring_pg", None, 20_000),
        Peer("mainspring_sqlite", None, 20_000),
        Peer("loop_pg", "loop", 20_000),
        Peer("loop_sqlite", "loop", 20_000),
        Peer("pgqueuer", "pgqueuer", 20_000),
        Peer("chancy", "chancy", 10_000),
        Peer("procrastinate", "procrastinate", 3_000),
        Peer("huey_sqlite", "huey", 10_000),
        Peer("arq", "arq", 8_000),
        Peer("celery", "celery", 4_000),
        Peer("dramatiq", "dramatiq", 8_000),
        Peer("huey", "huey", 10_000),
        Peer("rq", "rq", 3_000),
        Peer("taskiq", "taskiq", 8_000),
    )
}
