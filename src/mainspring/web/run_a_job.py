"""`/ui/run-a-job`: ask for a run with a payload of one's own, by a form that is made from the job's payload type."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, Response

from mainspring.control.options import EnqueueOptions
from mainspring.domain.access import Permission
from mainspring.domain.execution import Status, Trigger
from mainspring.errors import DefinitionError, InvalidPayloadError, MainspringError, PermissionDeniedError
from mainspring.jobs.registry import RegisteredJob
from mainspring.store.runs import executions
from mainspring.store.runs.executions import Filter
from mainspring.web.run_form import FormField, fields_of, payload_from, with_problems
from mainspring.web.run_value import as_json, visible
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_run_a_job import RUN_A_JOB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.store.engine.database import Connection

router = APIRouter()
_LIVE: Final = (Status.RUNNING, Status.QUEUED, Status.RETRYING)
_LONGEST_DELAY: Final = 366 * 86_400
Name = Annotated[str, Query(max_length=200)]


@router.get("/run-a-job")
async def run_a_job(visit: Visit, job: Name = "", again: UUID | None = None) -> HTMLResponse:
    """Show the form: of a job, of a job with the payload of a run, or the choice of one."""
    await _require(visit)
    payload: dict[str, Any] = {}
    if again is not None:
        before = await visit.services.commands.executions.get(visit.scope, again)
        job, payload = before.job_name, _repeatable(before.payload)
    known = {each.definition.name: each for each in _offered(visit)}
    if job not in known:
        return await _shown(visit, names=sorted(known), job=None, error="")
    return await _form(visit, known[job], fields_of(known[job], payload), payload)


@router.post("/run-a-job")
async def run(visit: ActingVisit) -> Response:
    """Ask for the run; what is wrong with it stands beside its field."""
    await _require(visit)
    form = {name: str(value) for name, value in (await visit.request.form()).items()}
    job = visit.services.app.registry.get(form.get("job", ""))
    fields = fields_of(job, {})
    payload: dict[str, Any] = {}
    try:
        payload = _payload(fields, form)
        run_id = await _asked_for(visit, job, payload, form)
    except PermissionDeniedError:
        raise
    except (MainspringError, ValueError) as error:
        filled = fields_of(job, payload)
        if isinstance(error, InvalidPayloadError):
            filled = with_problems(job, filled, payload)
        return await _form(visit, job, filled, payload, error=str(error), form=form)
    return visit.done(RUN_A_JOB.done.format(job=job.definition.name), go_to=f"/runs/{run_id}")


async def _asked_for(visit: PageVisit, job: RegisteredJob, payload: dict[str, Any], form: Mapping[str, str]) -> UUID:
    name, options, key = job.definition.name, _options(form), form.get("idempotency_key") or None
    if visit.is_staff:
        wanted = payload or None
        return await visit.services.commands.jobs.run(visit.actor, name, wanted, idempotency_key=key, options=options)
    if key is not None:
        options["idempotency_key"] = key
    [run_id] = await visit.services.commands.executions.enqueue(
        name, [payload], actor=visit.actor, trigger=Trigger.API, **options
    )
    return run_id


def _options(form: Mapping[str, str]) -> EnqueueOptions:
    options = EnqueueOptions()
    try:
        if form.get("priority"):
            options["priority"] = int(form["priority"])
        if form.get("delay"):
            options["delay"] = timedelta(seconds=min(max(0, int(form["delay"])), _LONGEST_DELAY))
    except ValueError:
        raise DefinitionError(RUN_A_JOB.bad_number) from None
    if form.get("queue"):
        options["queue"] = form["queue"][:200]
    return options


def _payload(fields: list[FormField], form: Mapping[str, str]) -> dict[str, Any]:
    text = form.get("payload_json", "").strip()
    if not text:
        return payload_from(fields, form)
    try:
        payload: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(RUN_A_JOB.bad_json.format(problem=error)) from None
    if not isinstance(payload, dict):
        raise ValueError(RUN_A_JOB.bad_json.format(problem=type(payload).__name__))  # noqa: TRY004 - of a text
    return cast("dict[str, Any]", payload)


async def _require(visit: PageVisit) -> None:
    needed = Permission.WRITE_ADMIN_SETTINGS if visit.is_staff else Permission.CREATE_JOBS
    await visit.require(needed, staff=False)


def _offered(visit: PageVisit) -> list[RegisteredJob]:
    """Return what the visitor may run: staff all jobs, others those that are made on demand."""
    return [job for job in visit.services.app.registry if visit.is_staff or job.definition.on_demand]


def _repeatable(payload: object) -> dict[str, Any]:
    """Return the fields of a payload that can be shown as they are: a mask must not be sent for a secret."""
    if not isinstance(payload, dict):
        return {}
    fields = cast("dict[str, Any]", payload)
    shown = visible(fields)
    return {name: value for name, value in fields.items() if shown.get(name) == value}


async def _form(
    visit: PageVisit,
    job: RegisteredJob,
    fields: list[FormField],
    payload: dict[str, Any],
    *,
    error: str = "",
    form: Mapping[str, str] | None = None,
) -> HTMLResponse:
    name = job.definition.name

    def is_live(connection: Connection) -> bool:
        return any(
            executions.find(connection, visit.scope, Filter(job_name=name, status=status), most=1) for status in _LIVE
        )

    said = form or {}
    as_text = said.get("payload_json", "") or ("" if fields or not payload else as_json(payload, indented=True))
    return await _shown(
        visit,
        names=[],
        job=job.definition,
        fields=fields,
        payload_json=as_text,
        said={key: said.get(key, "") for key in ("queue", "priority", "delay", "idempotency_key")},
        is_live=await visit.database.read(is_live),
        error=error,
    )


async def _shown(visit: PageVisit, *, error: str, **context: Any) -> HTMLResponse:  # noqa: ANN401 - what the template shows
    status = 422 if error else 200
    if "hx-request" in visit.request.headers:
        return visit.fragment("run_a_job/dialog.html", status=status, text=RUN_A_JOB, error=error, **context)
    return await visit.page(
        "run_a_job.html", title=RUN_A_JOB.title, status=status, text=RUN_A_JOB, error=error, **context
    )
