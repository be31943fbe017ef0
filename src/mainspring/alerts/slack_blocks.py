"""A message in the blocks of Slack, within their limits: one character more, and Slack refuses all of it.

The limits are those of https://api.slack.com/reference/block-kit/blocks and of its composition objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.notification import Severity

if TYPE_CHECKING:
    from mainspring.domain.notification import Message

_BLOCKS: Final = 50
_HEADER: Final = 150
_TEXT: Final = 3_000
_FIELD: Final = 2_000
_FIELDS: Final = 10
_BUTTONS: Final = 5
_BUTTON: Final = 75
_URL: Final = 3_000
_SECTIONS_OF_FIELDS: Final = 3
_SIGNS: Final = {
    Severity.INFO: ":information_source:",
    Severity.WARNING: ":warning:",
    Severity.ERROR: ":red_circle:",
    Severity.CRITICAL: ":rotating_light:",
}


def blocks_of(message: Message) -> dict[str, Any]:
    """Return a message in blocks, with a text for notifications and screen readers."""
    title = f"{_SIGNS[message.severity]} {message.title}"
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _within(title, _HEADER), "emoji": True}}
    ]
    blocks += [{"type": "section", "text": _markdown(part, _TEXT)} for part in message.text.split("\n\n") if part]
    fields = [_markdown(f"*{name}*\n{value}", _FIELD) for name, value in message.fields.items()]
    sections = [
        {"type": "section", "fields": fields[start : start + _FIELDS]}
        for start in range(0, min(len(fields), _FIELDS * _SECTIONS_OF_FIELDS), _FIELDS)
    ]
    buttons = _buttons(message)
    actions: list[dict[str, Any]] = [{"type": "actions", "elements": buttons}] if buttons else []
    # What is read last gives way first: a very long text loses its end, and never the facts and the links.
    room = _BLOCKS - len(sections) - len(actions)
    return {"text": _escaped(_within(title, _TEXT // 5)), "blocks": [*blocks[:room], *sections, *actions]}


def _buttons(message: Message) -> list[dict[str, Any]]:
    named = message.links or ({"open": message.link} if message.link is not None else {})
    return [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": _within(name.capitalize(), _BUTTON)},
            "url": link,
            "action_id": f"open-{number}",
        }
        for number, (name, link) in enumerate(named.items())
        if name and link.startswith(("https://", "http://")) and len(link) <= _URL
    ][:_BUTTONS]


def _markdown(text: str, limit: int) -> dict[str, Any]:
    # `verbatim`: Slack makes no links of its own out of what jobs say. Escaping makes text longer: it is cut after.
    text = _within(text, limit)
    while len(_escaped(text)) > limit:
        text = _within(text, len(text) * 9 // 10)
    return {"type": "mrkdwn", "text": _escaped(text), "verbatim": True}


def _escaped(text: str) -> str:
    """Return text that mentions nobody and links nowhere (https://api.slack.com/reference/surfaces/formatting)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _within(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
