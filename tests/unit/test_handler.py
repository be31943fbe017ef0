"""How a function becomes a handler, and what is refused when it is declared."""

from __future__ import annotations

import functools
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel

from mainspring import JobContext, provided
from mainspring.domain.job import ExecutorKind, JobDefinition
from mainspring.errors import DefinitionError, InvalidPayloadError, JobNotFoundError
from mainspring.jobs.handler import bind
from mainspring.jobs.registry import JobRegistry

if TYPE_CHECKING:
    from collections.abc import Callable


class Note:
    def __init__(self, text: str) -> None:
        self.text = text


def context_alone(ctx: JobContext[Any]) -> None: ...
def payload_alone(request: dict[str, Any]) -> None: ...
def both(ctx: JobContext[Any], request: dict[str, Any]) -> None: ...
def annotated_context(run: JobContext[int], number: int) -> None: ...
def documented_context(run: Annotated[JobContext[int], "whose run it is"], number: int) -> None: ...
def with_dependency(number: int, *, mailer: str = provided(lambda: "mailer")) -> None: ...
def nothing() -> None: ...


@pytest.mark.parametrize(
    ("function", "context", "payload", "payload_type"),
    [
        (context_alone, "ctx", None, None),
        (payload_alone, None, "request", None),
        (both, "ctx", "request", None),
        (annotated_context, "run", "number", int),
        (documented_context, "run", "number", int),
        (with_dependency, None, "number", int),
        (nothing, None, None, None),
        (functools.partial(annotated_context), "run", "number", int),
    ],
)
def test_a_signature_says_what_a_handler_takes(
    function: Callable[..., object], context: str | None, payload: str | None, payload_type: type | None
) -> None:
    handler = bind(function, job_name="job")
    assert (handler.context_parameter, handler.payload_parameter) == (context, payload)
    assert handler.payload_type is payload_type
    assert set(handler.dependencies) == ({"mailer"} if function is with_dependency else set())


def is_even(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def has_a_name(things: dict[str, Any]) -> dict[str, Any]:
    if "name" not in things:
        raise ValueError("it has no name")
    return things


def ruled(number: Annotated[int, AfterValidator(is_even), ["not hashable"]]) -> None: ...
def ruled_dictionary(things: Annotated[dict[str, Any], AfterValidator(has_a_name)]) -> None: ...


@pytest.mark.parametrize(
    ("function", "fits", "wrong", "told"),
    [(ruled, 2, 3, "payload: 3 is odd"), (ruled_dictionary, {"name": "a"}, {}, "payload: it has no name")],
)
def test_the_rules_of_an_annotation_are_asked(
    function: Callable[..., object], fits: object, wrong: object, told: str
) -> None:
    handler = bind(function, job_name="digest")
    assert handler.read_payload(fits, "digest") == fits
    with pytest.raises(InvalidPayloadError, match=told):
        handler.read_payload(wrong, "digest")


def test_a_parameter_that_nobody_can_give_is_refused_with_the_way_out() -> None:
    def handler(ctx: JobContext[Any], payload: int, mailer: str) -> None: ...

    with pytest.raises(DefinitionError, match=r"'mailer'.*provided\(factory\)"):
        bind(handler, job_name="digest")


def test_a_payload_that_does_not_fit_names_its_fields() -> None:
    handler = bind(annotated_context, job_name="digest")
    with pytest.raises(InvalidPayloadError, match="'digest': payload: Input should be a valid integer"):
        handler.read_payload("many", "digest")


def refuse_odd_rows(_value: int) -> int:
    raise ValueError("rows must be even")


class EvenRows(BaseModel):
    rows: Annotated[int, AfterValidator(refuse_odd_rows)]


def takes_even_rows(payload: EvenRows) -> None: ...


def test_a_payload_that_its_own_rule_refuses_says_what_the_rule_says() -> None:
    with pytest.raises(InvalidPayloadError, match="'digest': rows: rows must be even"):
        bind(takes_even_rows, job_name="digest").read_payload({"rows": 3}, "digest")


def test_the_default_of_the_parameter_stands_where_there_is_no_payload() -> None:
    def greet(ctx: JobContext[str], name: str = "world") -> str:
        return f"{ctx.attempt} {name}"

    handler = bind(greet, job_name="greet")
    assert [handler.read_payload(given, "greet") for given in (None, "Ada")] == ["world", "Ada"]


def test_two_jobs_of_one_name_are_refused_and_both_places_named() -> None:
    registry = JobRegistry()
    registry.add(JobDefinition("digest"), nothing)
    with pytest.raises(DefinitionError, match=r"two jobs are called 'digest'.*test_handler\.py:\d+.*test_handler\.py"):
        registry.add(JobDefinition("digest"), both)


@pytest.mark.parametrize(
    ("option", "given", "instead"),
    [
        ("schedule", "0 9 * * *", 'schedule=Cron("0 9 * * *")'),
        ("retry", 3, "retry=Retry(max_retries=3)"),
        ("thresholds", {"failure_rate": 0.5}, "thresholds=Thresholds(failure_rate=0.5)"),
        ("timeout", 30, "timeout=timedelta(minutes=5)"),
        ("catch_up", 30, "catch_up=timedelta(minutes=5)"),
        ("jitter", 30, "jitter=timedelta(minutes=5)"),
        ("cpu_limit", 30, "cpu_limit=timedelta(minutes=5)"),
    ],
)
def test_an_option_of_another_kind_is_refused_with_how_to_write_it(option: str, given: Any, instead: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(f"'digest': {option} is {given!r}: write {instead}")):
        JobDefinition("digest", **{option: given})


@pytest.mark.parametrize(("option", "least"), [("memory_limit", 1), ("cpu_limit", timedelta(microseconds=1))])
def test_a_limit_that_holds_nothing_is_refused_with_what_to_declare(option: str, least: Any) -> None:
    held: dict[str, Any] = {"executor": ExecutorKind.PROCESS}
    assert getattr(JobDefinition("digest", **held, **{option: least}), option) == least
    for kind in set(ExecutorKind) - {ExecutorKind.PROCESS}:
        with pytest.raises(DefinitionError, match=f"'digest': {option} holds only .* declare executor=\"process\""):
            JobDefinition("digest", executor=kind, **{option: least})
    with pytest.raises(DefinitionError, match=f"'digest': {option} is 0.*: it must be more than zero"):
        JobDefinition("digest", **held, **{option: least - least})


def test_an_unknown_job_is_refused_with_the_nearest_names() -> None:
    registry = JobRegistry()
    registry.add(JobDefinition("weekly-digest"), nothing)
    with pytest.raises(JobNotFoundError, match="did you mean 'weekly-digest'"):
        registry.get("weekly-digets")


@pytest.mark.parametrize("name", ["", "-begins-with-hyphen", "has space", "x" * 201, "ünïcode", "bulk", "status"])
def test_a_name_that_cannot_be_used_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match=r"cannot be used|word of the API's own paths"):
        JobDefinition(name)


def test_plain_functions_run_on_threads_and_coroutine_functions_on_the_loop() -> None:
    async def coroutine() -> None: ...

    assert bind(coroutine, job_name="a").executor(ExecutorKind.AUTO) is ExecutorKind.ASYNC
    assert bind(nothing, job_name="b").executor(ExecutorKind.AUTO) is ExecutorKind.THREAD
    assert bind(nothing, job_name="c").executor(ExecutorKind.PROCESS) is ExecutorKind.PROCESS


@pytest.mark.parametrize("job", [object(), Note("no execute")])
def test_an_object_without_execute_or_run_is_refused(job: object) -> None:
    with pytest.raises(DefinitionError, match="neither an `execute` nor a `run`"):
        JobRegistry().add_object(job)
