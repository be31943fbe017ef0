"""Every operation on an on-demand job is in the audit: who did it, to which job, and what changed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from mainspring.domain.execution import Status
from tests.api.worker_by_hand import WorkerByHand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from mainspring.store.auditing.audit_entries import AuditEntry
    from tests.api.conftest import Door


def told(entry: AuditEntry) -> tuple[str, str, str | None]:
    """Return what was done, by whom, of which organization."""
    assert entry.allowed
    assert entry.request_id is not None
    return entry.action, entry.actor, entry.organization_id


async def test_creation_and_cancellation(door: Door, ada: httpx2.AsyncClient) -> None:
    job_id = await door.create(ada)
    await ada.post(f"/v1/jobs/{job_id}/cancel")
    cancelled, created = await door.audit(job_id)
    assert told(created) == ("execution.create", "ada", "acme")
    assert told(cancelled) == ("execution.cancel", "ada", "acme")
    assert [json.loads(facts or "")["status"] for facts in (cancelled.before, cancelled.after)] == [
        "queued", "cancelled",
    ]  # fmt: skip


async def test_retry(door: Door, ada: httpx2.AsyncClient) -> None:
    job_id = await door.create(ada)
    worker = WorkerByHand(door)
    await worker.end(await worker.start(job_id), Status.FAILED)
    await ada.post(f"/v1/jobs/{job_id}/retry")
    retried, _ = await door.audit(job_id)
    assert told(retried) == ("execution.retry", "ada", "acme")
    assert [json.loads(facts or "")["status"] for facts in (retried.before, retried.after)] == ["failed", "queued"]


async def test_download(door: Door, ada: httpx2.AsyncClient) -> None:
    @door.app.report("numbers")
    async def _numbers(_filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        yield {"number": 1}

    payload = {"reportType": "numbers", "format": "csv"}
    job_id = await door.create(ada, jobType="export_report", payload=payload)
    async with door.app.running(), asyncio.timeout(20):
        while "retry-after" in (answer := await ada.get(f"/v1/jobs/{job_id}/status")).headers:
            await door.app.world.sleep(0.02)
    address = answer.json()["job"]["result"]["downloadUrl"]
    assert (await ada.head(address)).status_code == 200
    assert (await ada.get(address)).status_code == 200
    downloaded, created = await door.audit(job_id)
    assert told(downloaded) == ("export.download", "ada", "acme")
    assert told(created) == ("execution.create", "ada", "acme")
