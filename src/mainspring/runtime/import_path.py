"""Where another process imports an object of this one: `package.module:attribute`."""

from __future__ import annotations

import sys


def import_path(value: object) -> str | None:
    """Return where a module holds an object; None where none does, or only the script that was started.

    Args:
        value: An object at the top level of a module, such as an application.

    Example:
        >>> import_path(sys.flags)
        'sys:flags'
    """
    for name, module in list(sys.modules.items()):
        if name == "__main__":  # another process has a script of its own under this name
            continue
        for attribute, held in list(vars(module).items()):
            if held is value:
                return f"{name}:{attribute}"
    return None


def leads_to(path: str | None, value: object) -> bool:
    """Whether a path is that of an object, by what this process has imported."""
    module, _, attribute = (path or "").partition(":")
    return getattr(sys.modules.get(module), attribute, None) is value
