"""What `/openapi.json` says is compared with every answer that a test of the API gets."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import httpx2
import orjson
from starlette.routing import compile_path

from mainspring.api.envelope import is_enveloped
from mainspring.api.problems import MEDIA_TYPE

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from fastapi import FastAPI


class DocumentedTransport(httpx2.ASGITransport):
    """Brings requests to an application, and fails the test whose answer the application does not document.

    Args:
        api: The application.
    """

    def __init__(self, api: FastAPI) -> None:
        super().__init__(app=api)
        self._api = api

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and look at the answer."""
        answer = await super().handle_async_request(request)
        answers = documented_answers(self._api.openapi(), request.method, request.url.path)
        if answers is not None:
            whose = f"{request.method} {request.url.path}: {answer.status_code}"
            assert str(answer.status_code) in answers, f"{whose} is not in /openapi.json"
            is_of_envelope = answer.is_error and is_enveloped(request.url.path)
            if is_of_envelope or answer.headers.get("content-type") == MEDIA_TYPE:
                said = orjson.loads(await answer.aread())
                code = said["error"]["code"] if is_of_envelope else said["code"]
                assert code in documented_codes(answers[str(answer.status_code)]), f"{whose} {code} is not documented"
        return answer


def documented_answers(document: Mapping[str, Any], method: str, path: str) -> dict[str, Any] | None:
    """Return what a document says of the answers at an address; None: it says nothing of the address."""
    paths: Mapping[str, Any] = document["paths"]
    found = [template for template in paths if template == path or _pattern(template).match(path)]
    operation = paths[min(found, key=lambda template: "{" in template)].get(method.lower()) if found else None
    return None if operation is None else operation["responses"]


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    return compile_path(template)[0]


def documented_codes(answer: Mapping[str, Any]) -> set[str]:
    """Return the codes of the errors that an answer may carry."""
    (content,) = answer["content"].values()
    return set(content["examples"])
