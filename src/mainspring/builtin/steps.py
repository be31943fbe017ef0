"""What the built-in jobs have in common: documented steps, and a payload that is checked in the first of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mainspring.errors import InvalidPayloadError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from mainspring.jobs.context import JobContext

Request = TypeVar("Request", bound="BaseModel")


class Step(NamedTuple):
    """One of the documented steps: what it is called, and the progress that is shown while it works."""

    label: str
    percent: int


def enter(ctx: JobContext[Any], steps: Sequence[Step], number: int) -> None:
    """Say that a step begins.

    Args:
        ctx: The attempt.
        steps: All steps of the job.
        number: Which one, from 1.
    """
    label, percent = steps[number - 1]
    ctx.step(number, of=len(steps), label=label, percent=percent)
    ctx.log(f"step {number} of {len(steps)}: {label}", step=number)


def read_request(ctx: JobContext[Any], payload: object, request: type[Request]) -> Request:
    """Return the payload of a built-in job as what it asks for.

    Raises:
        InvalidPayloadError: It does not fit; a line of the log says what is wrong with it.
    """
    from pydantic import ValidationError

    try:
        return request.model_validate({} if payload is None else payload)
    except ValidationError as trouble:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'payload'}: {problem['msg']}"
            for problem in trouble.errors(include_url=False, include_input=False)
        )
        raise invalid_payload(ctx, problems) from trouble


def invalid_payload(ctx: JobContext[Any], problems: str) -> InvalidPayloadError:
    """Write down what is wrong with a payload, and return the documented error, which says no more than whose it is."""
    ctx.log(f"the payload cannot be used: {problems}", level="error", code=InvalidPayloadError.code)
    return InvalidPayloadError(f"Invalid {ctx.job_name} job payload")
