"""The commands of `mainspring` by name, each loaded when it is asked for: all of them take a fifth of a start."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Callable

_COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "serve": ("serve:serve", "Run one node, with its API."),
    "demo": ("demo:demo", "Run the sample application on real data."),
    "init": ("init:init", "Write a first application."),
    "db": ("database:program", ""),
    "token": ("token:program", ""),
    "key": ("key:program", ""),
    "user": ("user:program", ""),
    "jobs": ("job_names:program", ""),
    "executions": ("executions:program", ""),
    "cron": ("cron:program", ""),
    "exec": ("exec_command:exec_command", "Run a program as a tracked job, for cron and for people."),
    "import-crontab": ("import_crontab:import_crontab", "Show a crontab, or write it as a module of jobs."),
    "alerts": ("alerts:program", ""),
    "breakers": ("breakers:program", ""),
    "replays": ("replays:program", ""),
    "maintenance": ("maintenance:program", ""),
    "notifications": ("notifications:program", ""),
    "organizations": ("organizations:program", ""),
    "nodes": ("nodes:program", ""),
    "audit": ("audit:program", ""),
    "check": ("check:check", "Hold the jobs against the Definition of Done."),
    "doctor": ("doctor:doctor", "Examine this deployment."),
    "dump": ("dump:dump", "Write the whole store as lines of JSON."),
}
"""Where each command is, and what it says of itself in a list; a group says that itself."""


class CommandTree(TyperGroup):
    """The group of all commands."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - typer's signature
        """Return their names."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002 - typer's signature
        """Return a command; None: there is none of that name."""
        # Among all of them typer finds the one that a misspelt name may have meant.
        wanted = [cmd_name] if cmd_name in _COMMANDS else _COMMANDS
        for name in wanted:
            if name not in self.commands:
                self.commands[name] = _loaded(name)
        return self.commands.get(cmd_name)


def _loaded(name: str) -> Any:  # noqa: ANN401 - typer hides the type
    place, short_help = _COMMANDS[name]
    module, _, attribute = place.partition(":")
    found: typer.Typer | Callable[..., None] = getattr(import_module(f"mainspring.cli.{module}"), attribute)
    # A tree of its own, for one command: what typer makes of it is taken out again.
    holder = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    holder.callback()(lambda: None)
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name, short_help=short_help)(found)
    tree: Any = typer.main.get_command(holder)
    return tree.commands[name]
