"""The on-demand job `export_report`: a report's rows as a file, in six steps and bounded memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mainspring.builtin.steps import Step, enter
from mainspring.domain.instants import instant_text
from mainspring.errors import InvalidPayloadError, MainspringError
from mainspring.jobs.context import JobContext
from mainspring.reports.formats import FormatNotInstalledError
from mainspring.reports.pipeline import ExportPipeline
from mainspring.reports.request import ExportRequest
from mainspring.reports.source import ReportCaller
from mainspring.reports.storage import download_url

if TYPE_CHECKING:
    from mainspring.reports.source import ReportRegistry
    from mainspring.reports.storage import ExportStorage
    from mainspring.world import World

ExportHandler: TypeAlias = Callable[[JobContext[dict[str, Any]], dict[str, Any]], Awaitable[dict[str, Any]]]


STEPS: Final = (
    Step("Validate parameters", 20),
    Step("Query data", 40),
    Step("Process results", 60),
    Step("Format output", 80),
    Step("Generate file", 95),
    Step("Finalize", 100),
)


def export_report(reports: ReportRegistry, storage: ExportStorage, environment: str, world: World) -> ExportHandler:
    """Return the handler of `export_report`.

    Its payload is `{reportType, format, filters?: {dateFrom?, dateTo?, …}}`; its result is `{downloadUrl, fileSize,
    recordCount, generatedAt, reportType, format}`. The six steps follow one another, and rows wait between them on
    disk, not in memory, so that a query is closed before the slow part begins, and every column is known before the
    first line is written:

    1. Validate parameters: the payload is checked; whatever is wrong with it fails the execution at once.
    2. Query data: the report's rows are read to the last and kept as they come (`items_processed` grows).
    3. Process results: every value becomes a cell, and every row gets the columns of all rows, in order of appearance.
    4. Format output: the cells are written under a hidden name (`items_succeeded` grows).
    5. Generate file: the file is made durable and gets its name.
    6. Finalize: size and number of rows are compared with what was queried.

    Where the columns are known with the first row, as those of a statement are, and the format needs no more, steps 3
    and 4 are done chunk by chunk during step 2, and nothing waits.

    Between two chunks the handler stops if it is told to, and however it ends, nothing half-written stays. After a
    crash the next attempt removes what the last one left.

    Args:
        reports: The reports that may be asked for.
        storage: Where the file goes; while it runs, an export needs about three times its size there.
        environment: The environment whose exports these are.
        world: Gives the instant of generation and a thread for the disk.
    """

    async def export(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> dict[str, Any]:
        """Write the rows of a report to a file that can be downloaded."""
        enter(ctx, STEPS, 1)
        request = _checked(ctx, payload, reports)
        pipeline = ExportPipeline(ctx, request, storage, world)
        try:
            enter(ctx, STEPS, 2)
            rows = await pipeline.query_data(ReportCaller(ctx.organization_id, ctx.user_id, environment))
            enter(ctx, STEPS, 3)
            await pipeline.process_results(rows)
            enter(ctx, STEPS, 4)
            pending = await pipeline.format_output(rows)
            enter(ctx, STEPS, 5)
            file = await pipeline.generate_file(pending)
            enter(ctx, STEPS, 6)
            await pipeline.check(file)
        finally:
            await pipeline.close()
        return {
            "downloadUrl": download_url(file.name),
            "fileSize": file.size,
            "recordCount": file.rows,
            "generatedAt": instant_text(file.generated_at),
            "reportType": request.report.name,
            "format": request.format.name,
        }

    return export


def _checked(ctx: JobContext[dict[str, Any]], payload: object, reports: ReportRegistry) -> ExportRequest:
    try:
        return ExportRequest.from_payload(payload, reports)
    except FormatNotInstalledError as trouble:
        ctx.log(str(trouble), level="error", code=trouble.code)
        raise
    except MainspringError as trouble:
        ctx.log(f"the payload cannot be exported: {trouble}", level="error", code=trouble.code)
        raise InvalidPayloadError("Invalid export job payload") from trouble
