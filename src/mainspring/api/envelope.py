"""The envelope of `/admin/jobs`: `{success, data}`, and `{success, error: {code, message}}` for every error there."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from mainspring.domain.write_door import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVELOPED_PATH: Final = "/admin/jobs"


class ErrorInEnvelope(BaseModel):
    """Why a request was not done."""

    code: str
    message: str


class FailureEnvelope(BaseModel):
    """The answer to a request that was not done."""

    success: Literal[False]
    error: ErrorInEnvelope


def is_enveloped(path: str) -> bool:
    """Whether the answers at a path are in the envelope.

    Example:
        >>> is_enveloped("/admin/jobs/runs"), is_enveloped("/admin/jobs-of-others")
        (True, False)
    """
    return path == ENVELOPED_PATH or path.startswith(f"{ENVELOPED_PATH}/")


def enveloped(data: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer to a request that was done."""
    body = orjson.dumps({"success": True, "data": data})
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def enveloped_error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer to a request that was not done."""
    body = json_text({"success": False, "error": {"code": code, "message": message}})
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def document_errors(answers: dict[str, dict[str, Any]]) -> None:
    """Write what the OpenAPI document says of the errors of a route as they are in the envelope."""
    for status, answer in answers.items():
        if int(status) < HTTPStatus.BAD_REQUEST:
            continue
        (content,) = answer["content"].values()
        examples = {
            code: {
                "summary": example["summary"],
                "value": {"success": False, "error": {"code": code, "message": example["summary"]}},
            }
            for code, example in content["examples"].items()
        }
        schema = {"$ref": f"#/components/schemas/{FailureEnvelope.__name__}"}
        answer["content"] = {"application/json": {"schema": schema, "examples": examples}}
