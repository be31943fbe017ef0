"""The on-demand job `data_processing`: a registered function for each item of a source, resumable chunk by chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from mainspring.builtin.processing_run import STEPS, ProcessingRun
from mainspring.builtin.steps import enter, invalid_payload, read_request
from mainspring.jobs.named import NotRegisteredError
from mainspring.jobs.processor import MAX_CHUNK_SIZE

if TYPE_CHECKING:
    from mainspring.domain.result import JobResult
    from mainspring.jobs.context import JobContext
    from mainspring.jobs.named import NamedRegistry
    from mainspring.jobs.processor import Processor
    from mainspring.world import World


class ProcessingRequest(BaseModel):
    """What a processing is asked to be: the payload `{processor, source?, params?, chunkSize?}`, checked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    processor: str
    source: JsonValue = None
    params: dict[str, JsonValue] | None = None
    chunk_size: int | None = Field(default=None, alias="chunkSize", ge=1, le=MAX_CHUNK_SIZE)


class DataProcessing:
    """Carries out `data_processing`.

    Its payload is `{processor, source?, params?, chunkSize?}`; its result is a `JobResult` with the counts of items
    and, under `metadata`, `{processor, failures: [{index, type, code, message}]}`, at most the first 20. The steps:

    1. Validate parameters: the payload is checked; whatever is wrong with it fails the execution at once.
    2. Open source: the source is opened, and after a crash put behind the last finished chunk.
    3. Process items: chunk by chunk; when all items of a chunk are done, a checkpoint says so. The progress goes on
       from 40 to 99 per cent where the source says how many items there are.
    4. Finalize: the counts become the result.

    Args:
        processors: The processors that may be asked for.
        world: Gives the threads for functions that are not asynchronous, and the tasks for items side by side.
    """

    def __init__(self, processors: NamedRegistry[Processor], world: World) -> None:
        self._processors = processors
        self._world = world

    async def carry_out(self, ctx: JobContext[dict[str, Any]], payload: object) -> JobResult:
        """Process what is left of one source.

        Raises:
            InvalidPayloadError: The payload is wrong, or names a processor that is not registered.
            NoItemSucceededError: There were items, and all of them failed.
        """
        enter(ctx, STEPS, 1)
        request = read_request(ctx, payload, ProcessingRequest)
        processor = self._find(ctx, request)
        run = ProcessingRun(
            ctx,
            processor,
            source=request.source,
            params=request.params or {},
            chunk_size=request.chunk_size or processor.chunk_size,
            world=self._world,
        )
        try:
            return await run.to_its_end()
        finally:
            run.close()

    def _find(self, ctx: JobContext[Any], request: ProcessingRequest) -> Processor:
        try:
            processor = self._processors.get(request.processor)
        except NotRegisteredError as trouble:
            raise invalid_payload(ctx, f"processor: {trouble}") from trouble
        if request.params is not None and not processor.takes_params:
            raise invalid_payload(ctx, f"params: neither the function nor the source of {processor.name!r} takes any")
        if processor.source is None and not isinstance(request.source, list):
            raise invalid_payload(ctx, f"source: processor {processor.name!r} wants the items here, as a list")
        if request.source is not None and not processor.takes_source:
            raise invalid_payload(ctx, f"source: processor {processor.name!r} has a source that takes no parameter")
        return processor
