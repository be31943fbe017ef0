"""Events that an answer raises in the browser: news, dialogs to close, fragments that ask again."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import orjson

from mainspring.web.words import WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

Answer = TypeVar("Answer", bound="Response")


def with_browser_events(
    response: Answer,
    *,
    toast: str | None,
    closes_dialog: bool,
    changed: tuple[str, ...],
    undo: Mapping[str, object] | None = None,
) -> Answer:
    """Return the response with the header by which htmx raises events.

    Args:
        response: An answer to htmx.
        toast: Short news to show.
        closes_dialog: Whether the open dialog has served its purpose.
        changed: Topics whose fragments on the page ask again at once.
        undo: The request that takes back what was done; the news offer it.
    """
    events: dict[str, object] = {f"ms:{topic}": True for topic in changed}
    if toast is not None:
        offered = {} if undo is None else {"undo": {**undo, "words": WORDS["shell"]["undo"]}}
        events["ms:toast"] = {"words": toast, **offered}
    if closes_dialog:
        events["ms:close-dialog"] = True
    if events:
        response.headers["HX-Trigger"] = orjson.dumps(events).decode().encode("ascii", "backslashreplace").decode()
    return response
