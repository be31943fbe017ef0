"""`/ui/schedules/{name}/thresholds`: what opens an alert of a job, beside what its code says."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from mainspring.control.schedules import VersionConflictError
from mainspring.domain.access import Permission
from mainspring.domain.thresholds import Thresholds
from mainspring.domain.write_door import to_jsonable
from mainspring.web.clock import relative
from mainspring.web.form_fields import Reason
from mainspring.web.schedule_changes import last_change
from mainspring.web.schedules import require_schedule
from mainspring.web.threshold_fields import FIELDS, changes_of
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_thresholds import THRESHOLDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.web.schedule_rows import ShownSchedule

router = APIRouter()


@router.get("/schedules/{name}/thresholds")
async def ask_for_thresholds(visit: Visit, name: str) -> HTMLResponse:
    """Show the thresholds in force, as fields."""
    await visit.require(Permission.EDIT_SCHEDULES)
    return _dialog(visit, await require_schedule(visit, name))


@router.post("/schedules/{name}/thresholds")
async def change_thresholds(
    visit: ActingVisit,
    name: str,
    version: Annotated[int, Form()],
    *,
    reason: Reason = "",
    reset: Annotated[bool, Form()] = False,
) -> Response:
    """Put other thresholds in the place of those of the code, or take all of that back."""
    await visit.require(Permission.EDIT_SCHEDULES)
    row = await require_schedule(visit, name)
    form = {key: value for key, value in (await visit.request.form()).items() if isinstance(value, str)}
    before = _in_force(row)
    changed, wrong = changes_of(before, form)
    if not reset and (wrong or not changed):
        told = "" if wrong else THRESHOLDS.unchanged
        return _dialog(visit, row, form=form, wrong=wrong, error=told, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    policies = visit.services.commands.policies
    asked = {"thresholds": None if reset else changed}
    try:
        after = await policies.change(visit.actor, name, asked, reason=reason or None, version=version)
    except VersionConflictError:
        return await _conflict(visit, name, form)
    told = THRESHOLDS.done_reset.format(name=row.title)
    if not reset:
        told = THRESHOLDS.done.format(name=row.title, changes=_told(before, changed))
    undo = _taken_back(row, before) | {"version": after.version}
    return visit.done(
        told, changed=("schedules",), undo=f"/schedules/{quote(name, safe='')}/thresholds", undo_form=undo
    )


def _taken_back(row: ShownSchedule, before: Mapping[str, Any]) -> dict[str, str | int]:
    """Return the form that brings back what was in force before: the thresholds of the code, or others."""
    if "thresholds" not in row.definition.override:
        return {"reset": "true"}
    return {field.name: field.written(before[field.name]) for field in FIELDS}


async def _conflict(visit: PageVisit, name: str, form: Mapping[str, str]) -> HTMLResponse:
    entry = await last_change(visit, name, "job.")
    who, ago = ("?", "") if entry is None else (entry.actor, relative(entry.at, visit.now))
    told = THRESHOLDS.conflict.format(who=who, ago=ago)
    row = await require_schedule(visit, name)
    return _dialog(visit, row, form=form, error=told, status=HTTPStatus.CONFLICT)


def _dialog(
    visit: PageVisit,
    row: ShownSchedule,
    *,
    form: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
    error: str = "",
    status: int = HTTPStatus.OK,
) -> HTMLResponse:
    present, code, said = _in_force(row), _complete(row.definition.code), form or {}
    shown = [
        {
            "name": field.name,
            "label": THRESHOLDS.labels[field.name],
            "present": field.written(present[field.name]) or THRESHOLDS.none,
            "code": ""
            if present[field.name] == code[field.name]
            else field.written(code[field.name]) or THRESHOLDS.none,
            "value": said.get(field.name, field.written(present[field.name])),
            "wrong": (wrong or {}).get(field.name, ""),
        }
        for field in FIELDS
    ]
    is_changed = "thresholds" in row.definition.override
    return visit.fragment(
        "schedule/thresholds.html",
        status=status,
        row=row,
        fields=shown,
        is_changed=is_changed,
        error=error,
        text=THRESHOLDS,
    )


def _in_force(row: ShownSchedule) -> dict[str, Any]:
    return _complete({**row.definition.code, **row.definition.override})


def _complete(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return all thresholds; what an older build has not written has its default."""
    return {**to_jsonable(Thresholds()), **(said.get("thresholds") or {})}


def _told(before: Mapping[str, Any], changed: Mapping[str, Any]) -> str:
    return ", ".join(
        THRESHOLDS.one_change.format(
            label=THRESHOLDS.labels[field.name].lower(),
            old=field.written(before[field.name]) or THRESHOLDS.none,
            new=field.written(changed[field.name]) or THRESHOLDS.none,
        )
        for field in FIELDS
        if field.name in changed
    )
