"""Checks the types of `src/` with TypeScript's strict rules; esbuild only takes types away.

TypeScript has a lock file of its own, in `types/`: whoever installs mainspring needs it not.
"""

from __future__ import annotations

import sys

import build_assets

TYPES = build_assets.FRONTEND / "types"


def main() -> None:
    """Fail where a type does not hold."""
    if build_assets.is_skipped():
        return
    tools = build_assets.find_tools()
    if tools is None:
        sys.exit(f"the types of the dashboard's scripts need Node.js {build_assets.OLDEST_NODE} or newer with npm")
    node, npm = tools
    try:
        for folder in (build_assets.FRONTEND, TYPES):  # the packages that scripts import bring their types along
            build_assets.install_packages(folder, node, npm)
        build_assets.run((node, str(TYPES / "node_modules" / "typescript" / "bin" / "tsc")), TYPES, node)
    except build_assets.AssetsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
