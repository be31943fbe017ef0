"""The on-demand job `cleanup`: an organization removes what is old of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mainspring.builtin.cleanup_run import CleanupRequest, CleanupRun
from mainspring.builtin.steps import Step, enter, read_request

if TYPE_CHECKING:
    from mainspring.jobs.context import JobContext
    from mainspring.reports.storage import ExportStorage
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.world import World

STEPS: Final = (
    Step("Validate parameters", 20),
    Step("Count what is old", 40),
    Step("Remove it", 60),
    Step("Finalize", 100),
)


class Cleanup:
    """Carries out `cleanup`.

    Its payload is `{target: executions | logs | exports, olderThanDays, dryRun?, user?}`; its result is `{target,
    dryRun, olderThanDays, matched, deleted}`. It removes what belongs to executions of the caller's organization that
    ended so long ago, of one user where `user` says so: the executions themselves with their attempts, log lines and
    files; their log lines alone; or the files of exports alone. What is alive is never touched. A run without an
    organization deals with executions that have none.

    It goes through pages of 200, each in short transactions of its own, and may be cancelled between them. After a
    crash the next attempt goes on with the page that the last one was at. The audit has its beginning and its end.

    Args:
        database: The store.
        storage: Where the files of exports lie.
        settings: The environment, and the key of the audit.
        world: Ids, and a thread for the disk.
    """

    def __init__(self, database: Database, storage: ExportStorage, settings: Settings, world: World) -> None:
        self._database = database
        self._storage = storage
        self._settings = settings
        self._world = world

    async def carry_out(self, ctx: JobContext[dict[str, Any]], payload: object) -> dict[str, Any]:
        """Remove, or with `dryRun` count, what is old.

        Raises:
            InvalidPayloadError: The payload is wrong.
        """
        enter(ctx, STEPS, 1)
        request = read_request(ctx, payload, CleanupRequest)
        run = CleanupRun(ctx, request, self._database, self._storage, settings=self._settings, world=self._world)
        try:
            enter(ctx, STEPS, 2)
            sweep = await run.begin()
            if not request.dry_run:
                enter(ctx, STEPS, 3)
                await run.remove(sweep, progress_from=STEPS[2].percent)
        finally:
            run.close()
        enter(ctx, STEPS, 4)
        return {
            "target": request.target,
            "dryRun": request.dry_run,
            "olderThanDays": request.older_than_days,
            "matched": sweep.matched,
            "deleted": sweep.deleted,
        }
