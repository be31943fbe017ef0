"""The on-demand job `sync`: what has changed since the last time, from a registered source to a registered target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from mainspring.builtin.steps import enter, invalid_payload, read_request
from mainspring.builtin.sync_run import STEPS, SyncRun
from mainspring.jobs.named import NotRegisteredError
from mainspring.store.coordination.sync_cursors import CursorName

if TYPE_CHECKING:
    from mainspring.domain.result import JobResult
    from mainspring.jobs.context import JobContext
    from mainspring.jobs.named import NamedRegistry
    from mainspring.jobs.synchronization import Sync
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.engine.database import Database
    from mainspring.world import World


class SyncRequest(BaseModel):
    """What a synchronization is asked to be: the payload `{sync, full?}`, checked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sync: str
    full: bool = False


class Synchronization:
    """Carries out `sync`, for the organization of its caller and no other.

    Its payload is `{sync, full?}`; its result is a `JobResult` with the count of records and, under `metadata`, `{sync,
    full, batches, cursorFrom, cursorTo}`. The steps:

    1. Validate parameters: the payload is checked; whatever is wrong with it fails the execution at once.
    2. Read cursor: the cursor of this sync and organization is taken; while another run holds it, this one is skipped.
    3. Transfer changes: batch after batch; once the target has taken a batch in, the cursor is moved behind it. A full
       run begins at the beginning, and leaves the cursor alone until it has come to the end.
    4. Finalize: the cursor is where the source ended.

    Args:
        syncs: The syncs that may be asked for.
        database: Where the cursors are.
        environment: The environment.
        cipher: What cursors that hold secrets are kept in.
        world: Its clock holds the rate, and its threads run functions that are not asynchronous.
    """

    def __init__(
        self,
        syncs: NamedRegistry[Sync],
        database: Database,
        environment: str,
        cipher: PayloadCipher,
        world: World,
    ) -> None:
        self._syncs = syncs
        self._database = database
        self._environment = environment
        self._cipher = cipher
        self._world = world

    async def carry_out(self, ctx: JobContext[dict[str, Any]], payload: object) -> JobResult:
        """Bring over what has changed.

        Raises:
            InvalidPayloadError: The payload is wrong, or names a sync that is not registered.
            SkipExecution: The same sync is being run for the same organization.
        """
        enter(ctx, STEPS, 1)
        request = read_request(ctx, payload, SyncRequest)
        try:
            sync = self._syncs.get(request.sync)
        except NotRegisteredError as trouble:
            raise invalid_payload(ctx, f"sync: {trouble}") from trouble
        name = CursorName(self._environment, sync.name, ctx.organization_id)
        run = SyncRun(
            ctx,
            sync,
            name,
            full=request.full,
            database=self._database,
            cipher=self._cipher,
            world=self._world,
        )
        try:
            return await run.to_its_end()
        finally:
            run.close()
