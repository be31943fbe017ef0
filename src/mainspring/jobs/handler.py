"""Binds a job author's function to its payload type, its result type and its dependencies."""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from mainspring.domain.job import ExecutorKind
from mainspring.domain.result import JobResult
from mainspring.errors import DefinitionError, InvalidPayloadError, ResultMismatchError
from mainspring.jobs.context import JobContext
from mainspring.jobs.current_call import authors_function
from mainspring.jobs.provided import Provided

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import TypeAdapter

_CONTEXT_NAMES: Final = frozenset({"ctx", "context"})
_PLAIN: Final = frozenset({inspect.Parameter.empty, Any, object, dict})


@dataclass(slots=True)
class Handler:
    """A callable that carries out a job, and how to call it.

    Attributes:
        function: The author's function, or the bound `execute` of a job object.
        context_parameter: The name of the parameter that takes the context, if there is one.
        payload_parameter: The name of the parameter that takes the payload, if there is one.
        payload_type: Its annotation; `None` where any JSON object is taken as it is.
        result_type: The annotation of the result; `None` where there is none.
        dependencies: Keyword-only parameters that are made for each attempt.
        is_async: Whether calling it returns a coroutine.
        payload_default: What the handler takes where there is no payload; `Parameter.empty` where it names none.
    """

    function: Callable[..., object]
    context_parameter: str | None
    payload_parameter: str | None
    payload_type: Any
    result_type: Any
    dependencies: Mapping[str, Provided]
    is_async: bool
    payload_default: object = inspect.Parameter.empty
    _payload_adapter: TypeAdapter[Any] | None = field(default=None, repr=False)
    _result_adapter: TypeAdapter[Any] | None = field(default=None, repr=False)

    def read_payload(self, payload: object, job_name: str) -> object:
        """Return the stored JSON as the payload type.

        Without a payload, the parameter's default counts, and then the defaults of the type's own fields.

        Raises:
            InvalidPayloadError: It does not fit; the message names each field that is wrong.
        """
        if payload is None and self.payload_default is not inspect.Parameter.empty:
            return self.payload_default
        if self.payload_type is None:
            return payload
        if self._payload_adapter is None:
            self._payload_adapter = _adapter(self.payload_type)
        return _validated(self._payload_adapter, {} if payload is None else payload, job_name)

    def read_result(self, result: object, job_name: str) -> object:
        """Return a stored result as the type that the handler declares.

        Raises:
            ResultMismatchError: It does not fit.
        """
        if self.result_type is JobResult and isinstance(result, dict):
            return JobResult.from_json(cast("dict[str, Any]", result))
        if self.result_type in (None, JobResult):
            return result
        if self._result_adapter is None:
            self._result_adapter = _adapter(self.result_type)
        from pydantic import ValidationError

        try:
            return self._result_adapter.validate_python(result)
        except ValidationError as error:
            shown = repr(result)[:200]
            raise ResultMismatchError(
                f"the result of job {job_name!r} was stored as {shown}, which is no {self.result_type}: results are "
                "JSON of at most 256 kB; return less, or a reference"
            ) from error

    def arguments(self, context: JobContext[Any], payload: object) -> dict[str, object]:
        """Return the keyword arguments of a call, dependencies left out."""
        arguments: dict[str, object] = {}
        if self.context_parameter is not None:
            arguments[self.context_parameter] = context
        if self.payload_parameter is not None:
            arguments[self.payload_parameter] = payload
        return arguments

    def executor(self, declared: ExecutorKind) -> ExecutorKind:
        """Return how to carry it out: as declared, else async for coroutine functions and a thread for others."""
        if declared is not ExecutorKind.AUTO:
            return declared
        return ExecutorKind.ASYNC if self.is_async else ExecutorKind.THREAD


def bind(function: Callable[..., object], *, job_name: str) -> Handler:
    """Return the handler for a function.

    A parameter called `ctx` or `context`, or annotated as `JobContext`, takes the context; keyword-only parameters
    with a `provided(...)` default are dependencies; one other parameter, if there is one, takes the payload.

    Raises:
        DefinitionError: The signature asks for something that nobody can give.
    """
    context_parameter = payload_parameter = None
    payload_default: object = inspect.Parameter.empty
    dependencies: dict[str, Provided] = {}
    hints = _hints(function, job_name)
    for parameter in inspect.signature(function).parameters.values():
        default = cast("object", parameter.default)
        if isinstance(default, Provided):
            dependencies[parameter.name] = default
        elif _takes_context(parameter, hints):
            context_parameter = parameter.name
        elif payload_parameter is None and parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            payload_parameter, payload_default = parameter.name, default
        elif parameter.default is parameter.empty:
            msg = (
                f"job {job_name!r}: nobody can give its handler the parameter {parameter.name!r}. A handler takes "
                "`ctx`, `payload`, both or neither; give further parameters a default, or make them keyword-only "
                "with `= provided(factory)`"
            )
            raise DefinitionError(msg)
    payload_type = hints.get(payload_parameter) if payload_parameter else None
    return Handler(
        function=function,
        context_parameter=context_parameter,
        payload_parameter=payload_parameter,
        payload_type=None if _is_plain(payload_type) else payload_type,
        result_type=_without_rules(hints.get("return")),
        dependencies=dependencies,
        is_async=inspect.iscoroutinefunction(function),
        payload_default=payload_default,
    )


def _hints(function: Callable[..., object], job_name: str) -> dict[str, Any]:
    target = authors_function(function)
    names: dict[str, Any] = dict(inspect.getclosurevars(target).nonlocals) if hasattr(target, "__code__") else {}
    try:
        return typing.get_type_hints(
            target, localns={"JobContext": JobContext, "JobResult": JobResult, **names}, include_extras=True
        )
    except NameError as error:
        if not typing.cast("dict[str, object]", getattr(target, "__annotations__", {})):
            return {}
        msg = (
            f"job {job_name!r}: the annotation {error.name!r} of its handler cannot be found when the program runs. "
            "Import it outside `if TYPE_CHECKING`, and define payload types at module level"
        )
        raise DefinitionError(msg) from error


def _takes_context(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> bool:
    annotation = _without_rules(hints.get(parameter.name))
    return parameter.name in _CONTEXT_NAMES or (typing.get_origin(annotation) or annotation) is JobContext


def _without_rules(annotation: Any) -> Any:  # noqa: ANN401 - an annotation may be anything
    """Return the type in an `Annotated`, whose rules are for what comes from outside: payloads."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation


def _is_plain(annotation: Any) -> bool:  # noqa: ANN401 - an annotation may be anything
    """Whether any JSON fits; where it has rules, they are asked."""
    if typing.get_origin(annotation) is dict:
        return typing.get_args(annotation) in {(str, Any), (str, object)}
    return typing.get_origin(annotation) is not typing.Annotated and annotation in _PLAIN


def _adapter(annotation: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - an annotation may be anything
    from pydantic import TypeAdapter  # a worker whose jobs take plain dicts never loads it

    return TypeAdapter(annotation)


def _validated(adapter: TypeAdapter[Any], payload: object, job_name: str) -> object:
    from pydantic import ValidationError

    try:
        return adapter.validate_python(payload)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'payload'}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False, include_input=False)[:10]
        )
        msg = f"the payload does not fit job {job_name!r}: {problems}"
        raise InvalidPayloadError(msg) from error
