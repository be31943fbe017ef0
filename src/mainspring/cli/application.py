"""The application that a command works on: found by its path, or, where none is needed, made of the settings alone."""

from __future__ import annotations

import asyncio
import difflib
import importlib
import os
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from mainspring.errors import ConfigurationError, MainspringError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import ModuleType

    from mainspring.app import Mainspring

Result = TypeVar("Result")

AppOption = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE:NAME", help="The application, e.g. shop.jobs:app; default: MAINSPRING_APP."),
]


def load_app(path: str | None) -> Mainspring:
    """Return the application at `package.module:name`.

    The working directory is importable, as it is for `python -m`; child processes find the same application.

    Args:
        path: Where it is; None: where `MAINSPRING_APP` says.

    Raises:
        ConfigurationError: Nothing is named, or what is named is not there, cannot be imported, or is no application.
    """
    from mainspring.app import Mainspring

    path = path or _path_in_settings()
    if path is None:
        raise ConfigurationError(
            "no application is named: give `--app package.module:name`, or set MAINSPRING_APP; `mainspring init` "
            "writes a first one"
        )
    module_name, _, name = path.partition(":")
    if not (module_name and name):
        raise ConfigurationError(f"{path!r} names no application: write `package.module:name`, such as `shop.jobs:app`")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    os.environ["MAINSPRING_APP"] = path
    module = _imported(module_name)
    found = getattr(module, name, None)
    if not isinstance(found, Mainspring):
        raise ConfigurationError(f"{path!r} is no application: {_what_is_there(module, name)}")
    return found


def app_or_store(path: str | None) -> Mainspring:
    """Return the named application, or where none is named one without jobs, which can read the same store."""
    from mainspring.app import Mainspring

    return load_app(path) if path or _path_in_settings() else Mainspring()


def run_connected(app_of: Callable[[], Mainspring], work: Callable[[Mainspring], Awaitable[Result]]) -> Result:
    """Open the store of an application, do something with it, and return what came of it.

    Standard output belongs to the command's answer: what the application prints or logs goes to standard error.

    Args:
        app_of: Finds the application.
        work: What to do while its store is open.
    """

    async def connected() -> Result:
        async with app.connected():
            return await work(app)

    with redirect_stdout(sys.stderr):
        app = app_of()
        return asyncio.run(connected())


def _path_in_settings() -> str | None:
    from mainspring.settings import load_settings

    return load_settings().app


def _imported(module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except MainspringError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigurationError(
                f"there is no module {error.name!r} to import the application from: name one that is installed or "
                f"lies in {Path.cwd()}"
            ) from error
        raise _broken(module_name, error) from error
    except Exception as error:
        raise _broken(module_name, error) from error


def _broken(module_name: str, error: Exception) -> ConfigurationError:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return ConfigurationError(
        f"the module {module_name!r} cannot be imported: {type(error).__name__}: {error} "
        f"({last.filename}, line {last.lineno})"
    )


def _what_is_there(module: ModuleType, name: str) -> str:
    from mainspring.app import Mainspring

    if hasattr(module, name):
        return f"{name!r} is a {type(getattr(module, name)).__name__}, not a Mainspring"
    apps = [key for key, value in vars(module).items() if isinstance(value, Mainspring)]
    near = apps or difflib.get_close_matches(name, vars(module), n=1)
    hint = f"; it has {', '.join(map(repr, near))}" if near else ""
    return f"the module {module.__name__!r} has no {name!r}{hint}"
