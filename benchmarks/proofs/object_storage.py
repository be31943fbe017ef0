"""Claim: exports in a bucket of S3 are kept, found, superseded and removed as those in a folder are.

`./dev prove object-storage` starts moto, which answers as S3 does, in an environment of its own, and runs the tests of
the storage of exports on a bucket there: those that the suite runs on a folder and in memory.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import venv
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2
from rich.console import Console

from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT: Final = Path(__file__).parents[2]
MOTO: Final = ROOT / ".venv" / "proofs" / "moto"
TESTS: Final = "tests/unit/test_reports_storage.py"
BUCKET: Final = "exports"
PATIENCE_SECONDS: Final = 60.0
_KEYS: Final = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
_SIGNED: Final = {"Authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request"}
"""moto reads from it which service is meant, and verifies nothing."""


def prepare(console: Console) -> None:
    """Install moto beside the environment of the project."""
    if not (MOTO / "bin" / "moto_server").exists():
        console.print("installing moto into an environment of its own")
        venv.create(MOTO, with_pip=True, clear=True)
        command = [MOTO / "bin" / "python", "-m", "pip", "install", "--quiet", "moto[s3,server]"]
        subprocess.run(command, check=True)  # noqa: S603 - our own words


@contextmanager
def running_moto() -> Generator[str]:
    """Run moto with an empty bucket for as long as the block lasts, and return its address."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as said:
        command = [MOTO / "bin" / "moto_server", "--port", str(port)]
        process = subprocess.Popen(command, stdout=said, stderr=said)  # noqa: S603 - as above
        try:
            _make_bucket(address)
            yield address
        finally:
            process.terminate()
            process.wait()


def _make_bucket(address: str) -> None:
    world = RealWorld()
    deadline = world.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            httpx2.put(f"{address}/{BUCKET}", headers=_SIGNED).raise_for_status()
        except httpx2.ConnectError:
            if world.monotonic() > deadline:
                raise
            world.pause(0.1)
        else:
            return


def main() -> int:
    """Run the tests on the bucket, and return 1 where one fails."""
    words = (__doc__ or "").split("\n", 1)[0]
    argparse.ArgumentParser(prog="./dev prove object-storage", description=words).parse_args()
    prepare(Console())
    with running_moto() as address:
        where = {"AWS_ENDPOINT": address, "AWS_ALLOW_HTTP": "true", "EXPORTS_BUCKET": f"s3://{BUCKET}"}
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", TESTS, "-k", "in_s3"]
        return subprocess.run(command, cwd=ROOT, env=os.environ | _KEYS | where, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
