"""The job `platform-self-check`: every night, whether this deployment is well (platform-jobs document)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mainspring.builtin.self_check_api import examine_api
from mainspring.builtin.self_check_database import examine_database, examine_migrations
from mainspring.builtin.self_check_environment import examine_environment
from mainspring.builtin.self_check_finding import Finding, Script, ScriptResult, ScriptStatus
from mainspring.builtin.self_check_run import ScriptRunner
from mainspring.domain.failure import failure_of
from mainspring.domain.instants import instant_text
from mainspring.domain.job import JobConfig
from mainspring.domain.result import JobResult
from mainspring.domain.schedule import Every

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from mainspring.jobs.check import Check
    from mainspring.jobs.context import JobContext
    from mainspring.jobs.variable import Variable
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.world import World

NAME: Final = "platform-self-check"
PASSED: Final = "PLATFORM_VALIDATION_PASSED"
FAILED: Final = "PLATFORM_VALIDATION_FAILED"
ERROR: Final = "PLATFORM_VALIDATION_ERROR"

_AT_TWO: Final = datetime(1970, 1, 1, 2, tzinfo=UTC)
_SCRIPT_TIMEOUT: Final = timedelta(seconds=15)
_TIMEOUT: Final = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a self-check looks at.

    Attributes:
        settings: The settings in force.
        world: The clocks, threads and tasks of this process.
        database: Opens the store for as long as a block lasts.
        variables: The environment variables that the application declares.
        checks: The application's own checks.
        api_url: Where its API answers; None: none runs here, and none is known.
    """

    settings: Settings
    world: World
    database: Callable[[], AbstractAsyncContextManager[Database]]
    variables: Iterable[Variable] = ()
    checks: Iterable[Check] = ()
    api_url: str | None = None

    def scripts(self) -> Sequence[Script]:
        """Return the built-in scripts in their order."""
        asked: dict[str, Callable[[], object]] = {
            "validate-env": self._environment,
            "validate-db": self._store,
            "validate-migrations": self._migrations,
            "validate-api": self._api,
        }
        return [Script(name, examine, _SCRIPT_TIMEOUT) for name, examine in asked.items()]

    def scripts_of_checks(self) -> Sequence[Script]:
        """Return the scripts that ask the application's own checks, in the order of their declaration."""
        return [Script(f"check-{check.name}", check.function, check.timeout) for check in self.checks]

    def _environment(self) -> list[Finding]:  # on a thread: a disk that does not answer holds up nobody
        return examine_environment(self.settings, self.variables)

    async def _store(self) -> list[Finding]:
        async with self.database() as database:
            return await examine_database(database, self.world)

    async def _migrations(self) -> list[Finding]:
        async with self.database() as database:
            return await examine_migrations(database)

    async def _api(self) -> list[Finding]:
        return await examine_api(self.api_url, self.world)


class PlatformSelfCheck:
    """Carries out `platform-self-check`.

    Its scripts are `validate-env`, `validate-db`, `validate-migrations`, `validate-api` (skipped where no API runs) and
    a `check-<name>` for each `@app.check`. Each is bounded in time; what it raises is its failure and nobody else's.

    Args:
        deployment: Says what to look at, once it runs.
    """

    config: Final = JobConfig(
        name=NAME,
        description="Nightly platform validation running environment, database, and migration checks",
        schedule=Every(hours=24, anchor=_AT_TWO),
        group="platform",
        timeout=_TIMEOUT,
    )

    def __init__(self, deployment: Callable[[], Deployment]) -> None:
        self._deployment = deployment
        self._runner: ScriptRunner | None = None

    async def execute(self, ctx: JobContext[Any]) -> JobResult:
        """Run every script, and return what they found as the documented object."""
        deployment = self._deployment()
        runner = self._runner = self._runner or ScriptRunner(deployment.world)
        results: list[ScriptResult] = []
        try:
            scripts = [*deployment.scripts(), *deployment.scripts_of_checks()]
            async for result in runner.run(scripts):
                results.append(result)
                level = "error" if result.status is ScriptStatus.FAILED else "info"
                ctx.log(f"{result.name} {result.status}", level=level, found=result.message)
                ctx.progress(len(results), of=len(scripts), message=result.name)
        except Exception as error:  # noqa: BLE001 - that the validation itself broke is an answer too
            return _broken(error, results, deployment)
        return _validated(results, deployment)


def _validated(results: Sequence[ScriptResult], deployment: Deployment) -> JobResult:
    ran = [result for result in results if result.status is not ScriptStatus.SKIPPED]
    failed = [result for result in ran if result.status is ScriptStatus.FAILED]
    figures = f"{len(ran) - len(failed)}/{len(ran)} checks passed"
    said = JobResult.items(succeeded=len(ran) - len(failed), failed=len(failed))
    said.details = _details(results, deployment, success=not failed)
    said.message_code = FAILED if failed else PASSED
    said.summary = f"Platform validation {'failed' if failed else 'passed'}: {figures}"
    if failed:
        why = "; ".join(f"{result.name}: {result.message}" for result in failed)
        said.error = {"code": FAILED, "message": why}
    return said


def _broken(error: Exception, results: Sequence[ScriptResult], deployment: Deployment) -> JobResult:
    failure = failure_of(error)
    why = f"{failure.type}: {failure.message}"
    return JobResult(
        success=False,
        message_code=ERROR,
        summary=f"Platform validation could not be carried out: {why}",
        details=_details(results, deployment, success=False),
        error={"code": ERROR, "message": why},
    )


def _details(results: Sequence[ScriptResult], deployment: Deployment, *, success: bool) -> dict[str, Any]:
    """Return the result of a validation as the platform-jobs document has it."""
    counts = {status: sum(result.status is status for result in results) for status in ScriptStatus}
    return {
        "success": success,
        "timestamp": instant_text(deployment.world.now()),
        "environment": deployment.settings.environment,
        "summary": {
            "total": len(results),
            **{status.value: count for status, count in counts.items()},
            "totalDurationMs": sum(_milliseconds(result) for result in results),
        },
        "scripts": [_script_json(result) for result in results],
    }


def _script_json(result: ScriptResult) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": result.name,
        "status": result.status.value,
        "durationMs": _milliseconds(result),
    }
    # The document shows what passed, with nothing to add; of the others people want to know why.
    return shown if result.status is ScriptStatus.PASSED else shown | {"message": result.message}


def _milliseconds(result: ScriptResult) -> int:
    return round(result.seconds * 1000)
