"""Building the dashboard's assets: when it happens, and what is said where it cannot."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def assets(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, on a copy of its sources, with programs that are only written down."""
    spec = importlib.util.spec_from_file_location("build_assets", repository / "frontend" / "build_assets.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.FRONTEND = tmp_path / "frontend"
    module.DIST = tmp_path / "dist"
    shutil.copytree(repository / "frontend", module.FRONTEND, ignore=shutil.ignore_patterns("node_modules"))
    module.ran = []
    monkeypatch.delenv(module.SKIP, raising=False)
    monkeypatch.setattr(module, "find_tools", lambda: ("/bin/node", ("/bin/npm",)))
    monkeypatch.setattr(module, "is_up_to_date", lambda: _is_built(module))

    def run(command: tuple[str, ...], _folder: Path, _node: str) -> None:
        module.ran.append(command[1])
        (module.FRONTEND / "node_modules").mkdir(exist_ok=True)
        if command[1] == "build.mjs":
            module.DIST.mkdir(exist_ok=True)
            (module.DIST / "manifest.json").write_text(json.dumps({"fingerprint": command[-1], "files": {}}))

    monkeypatch.setattr(module, "run", run)
    return module


def _is_built(module: Any) -> bool:
    manifest = module.DIST / "manifest.json"
    return manifest.is_file() and json.loads(manifest.read_text())["fingerprint"] == module.fingerprint()


def test_only_what_has_changed_is_done_again(assets: Any) -> None:
    assets.main()
    assets.main()
    assert assets.ran == ["ci", "build.mjs"]
    (assets.FRONTEND / "src" / "app.css").write_text("a{}")
    assets.main()
    assert assets.ran == ["ci", "build.mjs", "build.mjs"], "the packages are the same"
    (assets.FRONTEND / "package-lock.json").write_text("{}")
    assets.main()
    assert assets.ran[3:] == ["ci", "build.mjs"]


def test_a_rename_of_a_source_counts_as_a_change(assets: Any) -> None:
    before = assets.fingerprint()
    (assets.FRONTEND / "src" / "copy.ts").rename(assets.FRONTEND / "src" / "copies.ts")
    assert assets.fingerprint() != before


def test_a_page_that_may_need_other_rules_of_the_style_counts_as_a_change(assets: Any, tmp_path: Path) -> None:
    assets.PAGES = tmp_path / "web"
    page = assets.PAGES / "templates" / "runs" / "table.html"
    page.parent.mkdir(parents=True)
    page.write_text('<table class="table">')
    before = assets.fingerprint()
    page.write_text('<table class="table table-striped">')
    assert assets.fingerprint() != before


def test_who_wants_the_api_alone_builds_nothing(assets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(assets.SKIP, "1")
    assets.main()
    assert assets.ran == []


def test_without_node_the_ways_out_are_named(assets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "find_tools", lambda: None)
    with pytest.raises(SystemExit, match=r"need Node.js 20 or newer.*published wheel.*MAINSPRING_SKIP_ASSETS=1"):
        assets.main()


def test_what_a_program_said_before_it_failed_is_shown(repository: Path, tmp_path: Path) -> None:
    copy = tmp_path / "frontend"
    shutil.copytree(repository / "frontend", copy, ignore=shutil.ignore_patterns("node_modules"))
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\necho no route to the registry\nexit 7\n")
    npm.chmod(0o755)
    node = tmp_path / "bin" / "node"
    node.write_text("#!/bin/sh\necho v22.0.0\n")
    node.chmod(0o755)
    ended = subprocess.run(
        (sys.executable, "-S", copy / "build_assets.py"),
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": f"{npm.parent}:/usr/bin:/bin"},
    )
    assert ended.returncode == 1
    assert "no route to the registry" in ended.stderr
    assert "failed with exit code 7: without a network, install the published wheel" in ended.stderr
