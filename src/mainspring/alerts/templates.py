"""Messages that people changed without code: Jinja templates in a folder, sandboxed and checked at the start."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.alert import AlertEvent
from mainspring.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mainspring.domain.notification import Message

_PARTS: Final = ("title", "text")
TOLD: Final = (
    AlertEvent.OPENED,
    AlertEvent.REOPENED,
    AlertEvent.WORSENED,
    AlertEvent.ESCALATED,
    AlertEvent.RESOLVED,
    AlertEvent.ACKNOWLEDGED,
    AlertEvent.SNOOZED,
)
"""The events that have words: the last two stand in first messages that are written again, and in none of their own."""
_NAMES: Final = frozenset(f"{event}.{part}.j2" for event in TOLD for part in _PARTS)
_LONGEST: Final = 20_000


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates of a deployment.

    A file is called `opened.title.j2` or `resolved.text.j2`: an event and a part of its message. One in a folder that
    is called like a channel is for that channel alone, one in `jobs/<name>` for that job, and one in
    `jobs/<name>/<channel>` for both; the nearest one is taken, and where there is none, the message stays as it is.

    Attributes:
        sources: The text of each template by its path in the folder.
    """

    sources: Mapping[str, str]

    @classmethod
    def read(cls, folder: str | None) -> Templates:
        """Read the templates of a folder; None: there are none.

        Raises:
            ConfigurationError: There is no such folder, or a template has an unknown name or cannot be compiled.
        """
        if folder is None:
            return cls({})
        root = Path(folder)
        if not root.is_dir():
            raise ConfigurationError(f"MAINSPRING_TEMPLATES names {folder}, which is no folder")
        try:
            sources = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in _files(root)}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"MAINSPRING_TEMPLATES: {error}") from None
        templates = cls(sources)
        for path in sources:
            templates.check(path)
        return templates

    def check(self, path: str) -> None:
        """Return if a template has a known name and can be compiled.

        Raises:
            ConfigurationError: It has not, or cannot.
        """
        from jinja2 import TemplateSyntaxError

        name = path.rpartition("/")[2]
        if name not in _NAMES:
            raise ConfigurationError(
                f"template {path}: it is called {name!r}; name it after an event and a part, such as opened.text.j2"
            )
        try:
            _environment().from_string(self.sources[path])
        except TemplateSyntaxError as error:
            raise ConfigurationError(f"template {path}, line {error.lineno}: {error.message}") from None

    def of_job(self, job_name: str) -> list[str]:
        """Return the paths of the templates that are a job's own."""
        return sorted(path for path in self.sources if path.startswith(f"jobs/{job_name}/"))

    def apply(
        self, message: Message, event: AlertEvent, *, channel: str, job_name: str | None, facts: Mapping[str, Any]
    ) -> Message:
        """Return a message as the templates have it.

        Args:
            message: As it is without templates; templates see it as `message`.
            event: What happened.
            channel: Which kind of channel it is for.
            job_name: Whose alert it is; None: it is of no job.
            facts: What templates may name besides.

        Raises:
            ConfigurationError: A template names something that there is not, or does what it may not.
        """
        changed: dict[str, str] = {}
        for part in _PARTS:
            path = self._nearest(f"{event}.{part}.j2", channel, job_name)
            if path is not None:
                changed[part] = self._render(path, {**facts, "message": message, "event": event.value})
        if "title" in changed:
            changed["title"] = " ".join(changed["title"].split())
        return replace(message, **changed) if changed else message

    def _nearest(self, name: str, channel: str, job_name: str | None) -> str | None:
        of_job = (f"jobs/{job_name}/{channel}/{name}", f"jobs/{job_name}/{name}") if job_name is not None else ()
        return next((path for path in (*of_job, f"{channel}/{name}", name) if path in self.sources), None)

    def _render(self, path: str, facts: Mapping[str, Any]) -> str:
        from jinja2 import TemplateError

        try:
            return _environment().from_string(self.sources[path]).render(facts).strip()[:_LONGEST]
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise ConfigurationError(f"template {path}: {type(error).__name__}: {error}") from None


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*.j2")) if path.is_file())


def _environment() -> Any:  # noqa: ANN401 - jinja2 is loaded only where there are templates
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Channels escape what they carry, each in its way: a mail would show `&amp;`.
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
