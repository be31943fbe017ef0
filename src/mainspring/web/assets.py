"""The built files of the dashboard: where they lie, how a page asks for them, and how they are answered."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

FOLDER: Final = Path(__file__).parent / "static" / "dist"
_FOREVER: Final = "public, max-age=31536000, immutable"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2"}


class Assets:
    """What `frontend/build.mjs` has made; its names hold a hash of what is in them.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._contents: dict[Path, bytes] = {}

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The hashed name of each; empty: nothing was built."""
        return self._manifest.get("files", {})

    @cached_property
    def icons(self) -> Mapping[str, str]:
        """The outline of each, as the data of an SVG path on a square of 24 by 24."""
        return self._manifest.get("icons", {})

    @cached_property
    def _manifest(self) -> Mapping[str, Mapping[str, str]]:
        manifest = self._folder / "manifest.json"
        return json.loads(manifest.read_bytes()) if manifest.is_file() else {}

    @cached_property
    def _files(self) -> frozenset[str]:
        return frozenset(file.name for file in self._folder.iterdir() if file.suffix in _TYPES)

    def answer(self, request: Request, name: str) -> Response:
        """Return a file, compressed where the browser takes that; it may be kept for ever."""
        if not self.names or name not in self._files:
            return Response("there is no such file\n", 404, media_type="text/plain")
        path, headers = self._folder / name, {"Cache-Control": _FOREVER, "Vary": "Accept-Encoding"}
        compressed = self._folder / f"{name}.gz"
        if "gzip" in request.headers.get("accept-encoding", "") and compressed.is_file():
            path, headers = compressed, headers | {"Content-Encoding": "gzip"}
        etag = f'"{name}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers | {"ETag": etag})
        return Response(self._content(path), media_type=_TYPES[Path(name).suffix], headers=headers | {"ETag": etag})

    def _content(self, path: Path) -> bytes:
        """Return what a file holds; a node keeps the few that are asked for, some 300 kB together."""
        if path not in self._contents:
            self._contents[path] = path.read_bytes()
        return self._contents[path]
