"""Claim: what a handler calls, in whatever process, is a child of its attempt, and the attempt of what asked for it.

`./dev prove traces` starts Datadog's own test agent, in an environment of its own, and a node that sends to it: once by
OTLP, with OpenTelemetry's instrumentation of sqlite3 and urllib, and once through ddtrace, which instruments by itself.
Handlers on the event loop, on a thread and in a child process ask a database; the parent of each span is then looked up
in what the agent has received.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import venv
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2
from rich.console import Console

from mainspring import Mainspring
from mainspring.cli.token import tokens_of
from mainspring.domain.access import Role
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

KEY: Final = "a key that only this proof knows, 32 bytes"
ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = ROOT / ".venv" / "proofs"
AGENT: Final = TOOLS / "ddapm-test-agent"
# Without their dependencies: OpenTelemetry's API is the one of the project.
INSTRUMENTATION: Final = tuple(
    f"opentelemetry-{name}" for name in ("instrumentation", "instrumentation-dbapi", "instrumentation-sqlite3",
                                         "instrumentation-urllib", "util-http")
)  # fmt: skip
ADDED: Final = {
    "otlp": (*INSTRUMENTATION, "wrapt", "packaging"),
    "ddtrace": ("ddtrace", "ddtrace-internal", "bytecode", "envier", "wrapt"),
}
PLACES: Final = ("async", "thread", "child")
PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Span:
    """A span as the agent has it."""

    id: str
    parent: str
    trace: str
    name: str


@dataclass(frozen=True)
class Agent:
    """The test agent and where it listens."""

    port: int
    otlp_port: int

    def spans(self, way: str) -> list[Span]:
        """Return what it has received."""
        port = self.otlp_port if way == "otlp" else self.port
        received = httpx2.get(f"http://127.0.0.1:{port}/test/session/traces").json()
        return list(_of_otlp(received) if way == "otlp" else _of_datadog(received))


def _of_otlp(received: Iterable[dict[str, Any]]) -> Iterator[Span]:
    for payload in received:
        for resource in payload["resource_spans"]:
            for scope in resource["scope_spans"]:
                for span in scope["spans"]:
                    ids = (span["span_id"], span.get("parent_span_id", ""), span["trace_id"])
                    own, parent, trace = (base64.b64decode(text).hex() for text in ids)
                    yield Span(own, parent, trace, span["name"])


def _of_datadog(received: Iterable[list[dict[str, Any]]]) -> Iterator[Span]:
    for trace in received:
        for span in trace:
            parent = f"{span['parent_id']:x}" if span["parent_id"] else ""
            yield Span(f"{span['span_id']:x}", parent, f"{span['trace_id']:x}", span["resource"])


def prepare(console: Console) -> None:
    """Install the agent in an environment of its own, and what the node needs beside the project in folders."""
    if not (AGENT / "bin" / "ddapm-test-agent").exists():
        console.print("installing ddapm-test-agent into an environment of its own")
        venv.create(AGENT, with_pip=True, clear=True)
        _pip(AGENT / "bin" / "python", "ddapm-test-agent")
    for way, packages in ADDED.items():
        if not (TOOLS / way).exists():
            console.print(f"installing {', '.join(packages)}")
            unfinished = TOOLS / f"{way}.unfinished"
            _pip(Path(sys.executable), "--target", str(unfinished), "--upgrade", "--no-deps", *packages)
            unfinished.rename(TOOLS / way)


def _pip(python: Path, *arguments: str) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)  # noqa: S603 - our own words


@contextmanager
def running_agent() -> Generator[Agent]:
    """Run the test agent for as long as the block lasts."""
    port, otlp_port, grpc_port = (_free_port() for _ in range(3))
    ports = {"--port": port, "--otlp-http-port": otlp_port, "--otlp-grpc-port": grpc_port, "--web-ui-port": 0}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - our own words
            [AGENT / "bin" / "ddapm-test-agent", *(str(word) for pair in ports.items() for word in pair)],
            stdout=said,
            stderr=said,
        )
        try:
            _wait_for(port)
            yield Agent(port, otlp_port)
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_for(port: int) -> None:
    world = RealWorld()
    deadline = world.monotonic() + PATIENCE_SECONDS
    while world.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            world.pause(0.05)
        else:
            return
    raise TimeoutError(f"nothing listens on port {port}")


def run_jobs(way: str, agent: Agent, folder: Path) -> None:
    """Run each job once on a node that sends its spans to the agent, and drain it."""
    url = f"sqlite:///{folder}/{way}.db"
    settings = {
        "MAINSPRING_DATABASE_URL": url,
        "MAINSPRING_SECRET_KEY": KEY,
        "PYTHONPATH": os.pathsep.join([str(TOOLS / way), str(ROOT)]),
        "SERVICE_URL": f"http://127.0.0.1:{agent.port}/info",
    }
    serve = ["-m", "mainspring", "serve", "--port", "0", "--app", "benchmarks.proofs.traced_app:app"]
    if way == "otlp":
        settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{agent.otlp_port}"
        command = [sys.executable, *serve]
    else:
        settings |= {
            "DD_TRACE_OTEL_ENABLED": "true",
            "DD_TRACE_AGENT_URL": f"http://127.0.0.1:{agent.port}",
            "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        }
        command = [sys.executable, str(TOOLS / way / "bin" / "ddtrace-run"), sys.executable, *serve]
    node = subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True)  # noqa: S603 - as above
    try:
        assert node.stdout is not None  # noqa: S101 - it is a pipe
        ready = json.loads(node.stdout.readline())
        RealWorld().start_thread(node.stdout.read, name="output of the node")  # pyright: ignore[reportArgumentType]
        token = tokens_of(Mainspring(database_url=url, secret_key=KEY)).create("prover", role=Role.ADMIN)
        for place in PLACES:
            answer = httpx2.post(
                f"{ready['url']}/jobs/in-{place}/run", headers={"Authorization": f"Bearer {token}"}, timeout=60
            ).json()
            if answer["status"] != "COMPLETED":
                raise RuntimeError(f"in-{place} is {answer}")
    finally:
        node.send_signal(signal.SIGTERM)
        node.wait(PATIENCE_SECONDS)


def lineage(spans: list[Span], place: str) -> str | None:
    """Return what is wrong with the spans of a job; None: nothing."""
    named = {span.name: span for span in spans}
    requested, attempt = named.get(f"enqueue in-{place}"), named.get(f"in-{place}")
    if requested is None or attempt is None:
        return f"the agent has only {sorted(named)[:10]}"
    if attempt.parent != requested.id or attempt.trace != requested.trace:
        return f"the attempt {attempt} is no child of {requested}"
    children = [span for span in spans if span.parent == attempt.id]
    if not any("select" in span.name.lower() for span in children):
        return f"no query is a child of the attempt, only {[span.name for span in children]}"
    return None


def main() -> int:
    """Print what was found, and return 1 where a span has the wrong parent."""
    argparse.ArgumentParser(prog="./dev prove traces", description=(__doc__ or "").split("\n", 1)[0]).parse_args()
    console, failed = Console(), False
    prepare(console)
    with running_agent() as agent, tempfile.TemporaryDirectory(prefix="mainspring-traces-") as folder:
        for way in ADDED:
            run_jobs(way, agent, Path(folder))
            spans = agent.spans(way)
            console.print(f"{way}: {len(spans):,} spans")
            for place in PLACES:
                problem = lineage(spans, place)
                failed = failed or problem is not None
                console.print(f"  {place:7} {problem or 'request → attempt → query, one trace'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
