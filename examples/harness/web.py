"""A consumer in a web application: `uvicorn web:api`. The request stays open until the job has ended.

It unwraps too: a failed job is raised, so that the exception handlers of the framework, and the middleware of Sentry,
see it.
"""

from configs import PregenerateConfigs
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from mainspring import Job, JobFailed

api = FastAPI()
TENANTS = ["acme", "globex"]


def as_dto(job: Job[int]) -> dict[str, object]:
    """Return what a caller is told of a job."""
    duration = job.timing.duration
    seconds = duration.total_seconds() if duration is not None else None
    return {"name": job.name, "status": job.status, "seconds": seconds, "result": job.result}


@api.post("/jobs/pregenerate-configs")
async def pregenerate_configs() -> dict[str, object]:
    """Run the job by hand."""
    job = await PregenerateConfigs(TENANTS).run()
    job.unwrap()
    return as_dto(job)


@api.exception_handler(JobFailed)
async def tell_of_a_failed_job(_request: Request, failed: JobFailed) -> JSONResponse:
    """Answer for every job that fails in any route."""
    return JSONResponse({"job": failed.job.name, "error": str(failed.__cause__)}, status_code=500)
