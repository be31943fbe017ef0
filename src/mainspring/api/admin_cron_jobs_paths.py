"""What the routes of `/admin/cron-jobs` share: where they are, and whom they let in."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Path, Query

from mainspring.api.staff import staff_who_may
from mainspring.domain.access import Actor, Permission

CRON_JOBS_PATH: Final = "/admin/cron-jobs"
STORABLE: Final = r"^[^\x00]+$"

Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "job.view"))]
Operator = Annotated[Actor, Depends(staff_who_may(Permission.WRITE_ADMIN_SETTINGS, "job.operate"))]
Editor = Annotated[Actor, Depends(staff_who_may(Permission.EDIT_SCHEDULES, "job.edit"))]
JobName = Annotated[str, Path(alias="job", max_length=200, pattern=STORABLE, description="The job's name.")]
RunId = Annotated[
    str, Path(alias="job", description="The id of a run.", json_schema_extra={"format": "uuid"}, max_length=200)
]
Text = Annotated[str | None, Query(max_length=200, pattern=STORABLE)]
