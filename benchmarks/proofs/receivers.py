"""Claim: a receiver that hangs, answers 500 or 429 delays no job, and gets each message once when it is well again.

`./dev prove receivers` runs one node on SQLite, with a receiver on loopback to which twenty messages a second are sent.
In turns of some seconds it is well, hangs, answers 500 and answers 429, a minute of illness in all; meanwhile jobs are
asked for every 20 ms. How long they take while it is ill is compared with how long they take while it is well, in the
same run. Then it stays well: each message has to reach it, and none twice.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from contextlib import asynccontextmanager, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Final

from rich.console import Console

from mainspring import Mainspring
from mainspring.domain.notification import Message
from mainspring.domain.webhook_signature import new_secret
from mainspring.store.alerting import notifications
from mainspring.store.alerting.notifications import NOTIFICATIONS, NewNotification

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

WELL: Final = "well"
STATES: Final = (WELL, "hangs", WELL, "500", WELL, "429")
ALLOWED_RATIO: Final = 1.05
HEALING_SECONDS: Final = 900.0
"""Longer than the waits that a minute of illness leads to."""
_JOB_EVERY: Final = 0.02
_JOBS_A_MESSAGE: Final = 3
_ANSWERS: Final = {
    WELL: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "500": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    "429": b"HTTP/1.1 429 Many\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n",
}


@dataclass(slots=True)
class Receiver:
    """A receiver that is as well as it is told to be.

    Attributes:
        state: How it is.
        taken: How often it has said yes to each message.
    """

    state: str = WELL
    taken: Counter[str] = field(default_factory=Counter[str])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, or never."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            await reader.readexactly(int(headers.get("content-length", "0")))
            if self.state not in _ANSWERS:
                await reader.read()  # until the node has given up waiting
                return
            if self.state == WELL:
                self.taken[headers["webhook-id"]] += 1
            writer.write(_ANSWERS[self.state])
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the node has gone, or the proof is over
        finally:
            writer.close()


@asynccontextmanager
async def _receiving(receiver: Receiver) -> AsyncGenerator[str]:
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


@dataclass(slots=True)
class Measured:
    """What was measured: the seconds that jobs took by whether the receiver was well, and the messages sent."""

    well: list[float] = field(default_factory=list[float])
    ill: list[float] = field(default_factory=list[float])
    sent: set[str] = field(default_factory=set[str])


async def _prove(seconds: float, rounds: int, folder: Path) -> tuple[Measured, Receiver]:
    receiver, measured = Receiver(), Measured()
    async with _receiving(receiver) as url:
        app = Mainspring(
            database_url=f"sqlite:///{folder}/store.db",
            webhook_url=url,
            webhook_secret=new_secret(b"the secret of this proof"),
            log_level="error",
        )

        @app.job("quick")
        async def quick() -> None: ...

        async with app.running():
            for state in STATES * rounds:
                receiver.state = state
                await _work(app, measured, measured.well if state == WELL else measured.ill, seconds)
            receiver.state = WELL
            deadline = app.world.monotonic() + HEALING_SECONDS
            while measured.sent - receiver.taken.keys() and app.world.monotonic() < deadline:
                await app.world.sleep(0.5)
    return measured, receiver


async def _work(app: Mainspring, measured: Measured, taken: list[float], seconds: float) -> None:
    """Ask for jobs one after the other, and send messages beside them."""
    environment, deadline = app.settings.environment, app.world.monotonic() + seconds
    while app.world.monotonic() < deadline:
        if len(taken) % _JOBS_A_MESSAGE == 0:
            message = NewNotification(app.world.new_id(), "webhook", Message("done", event="proof"))
            await app.opened.database.tx(
                lambda connection, message=message: notifications.enqueue(connection, environment, [message])
            )
            app.opened.signals.send(NOTIFICATIONS)
            measured.sent.add(str(message.id))
        began = app.world.monotonic()
        handle = await app.enqueue("quick")
        await handle.wait()
        taken.append(app.world.monotonic() - began)
        await app.world.sleep(_JOB_EVERY)


def _p99(taken: list[float]) -> float:
    return quantiles(taken, n=100)[98]


def main() -> int:
    """Measure, and return 1 where the claim does not hold."""
    parser = argparse.ArgumentParser(prog="./dev prove receivers", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each state at a time (5)")
    parser.add_argument("--rounds", type=int, default=4, help="how often it is ill in each way (4)")
    asked = parser.parse_args()
    console = Console()
    # What jobs and their node log goes to standard output, where only what was measured is to stand.
    with tempfile.TemporaryDirectory(prefix="receivers-") as folder, redirect_stdout(StringIO()):
        measured, receiver = asyncio.run(_prove(asked.seconds, asked.rounds, Path(folder)))
    well, ill = _p99(measured.well), _p99(measured.ill)
    ratio = ill / well
    lost = measured.sent - receiver.taken.keys()
    twice = [message for message, times in receiver.taken.items() if times > 1]
    console.print(
        f"{len(measured.well):,} jobs while it was well, p99 {well * 1000:.1f} ms; {len(measured.ill):,} while it was "
        f"ill, p99 {ill * 1000:.1f} ms: {ratio:.2f} times as long"
    )
    console.print(f"{len(measured.sent):,} messages: {len(lost)} lost, {len(twice)} taken twice")
    return int(ratio > ALLOWED_RATIO or bool(lost) or bool(twice))


if __name__ == "__main__":
    sys.exit(main())
