"""What is asked for, checked and made into new executions that the store can accept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from uuid import UUID

from mainspring.domain.job import OnLost
from mainspring.domain.retry import max_retries_for
from mainspring.domain.write_door import payload_text, verbatim_text
from mainspring.egress.webhook_url import require_webhook_url
from mainspring.errors import DefinitionError
from mainspring.observability.tracing import traceparent_of_request
from mainspring.store.queue.enqueues import NewExecution
from mainspring.store.runs.executions import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.execution import Trigger
    from mainspring.egress.addresses import AllowList
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.world import World

MAX_PRIORITY: Final = 100
MAX_RETRIES: Final = 20
MAX_KEY: Final = 200
MAX_TAGS: Final = 20
_ON_PARENT_FAILURE: Final = ("skip", "run")


class EnqueueRequests:
    """Makes new executions of what is asked for.

    Args:
        world: Ids and time.
        environment: The environment of this program.
        cipher: What secrets of payloads, and addresses of webhooks, are kept in.
        webhooks_may_reach: What callers may have told that is not on the public internet.
    """

    def __init__(
        self,
        world: World,
        *,
        environment: str,
        cipher: PayloadCipher,
        webhooks_may_reach: AllowList,
    ) -> None:
        self._world = world
        self._environment = environment
        self._cipher = cipher
        self._webhooks_may_reach = webhooks_may_reach

    def make(
        self, job: RegisteredJob, payloads: Sequence[object], trigger: Trigger, options: EnqueueOptions
    ) -> list[NewExecution]:
        """Return one new execution a payload, each with an id of its own.

        Raises:
            InvalidPayloadError: A payload does not fit the job's payload type.
            PayloadTooLargeError: A payload has more than 256 kB as JSON.
            DefinitionError: An option is out of its range.
            EgressRefusedError: No webhook could ever be delivered to that address.
        """
        template = self._request(job, trigger, options)
        template.trace_context = traceparent_of_request(template.job_name, trigger.value, count=len(payloads))
        return [self._with_payload(template, job, payload) for payload in payloads]

    def idempotency_key(self, job: RegisteredJob, options: EnqueueOptions) -> str | None:
        """Return the key under which a request is kept; None: it has none.

        Raises:
            DefinitionError: It cannot be one, or the request takes part in a transaction of the caller's.
        """
        key = _key(job, "idempotency_key", options.get("idempotency_key"))
        if key is not None and options.get("tx") is not None:
            raise _refused(
                job, "both tx and idempotency_key are given, and a key is kept in a transaction of its own: keep one"
            )
        return key

    def _request(self, job: RegisteredJob, trigger: Trigger, options: EnqueueOptions) -> NewExecution:
        definition = job.definition
        on_demand = definition.on_demand or definition.schedule is None
        priority = options.get("priority", 0)
        if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
            raise _refused(job, f"priority is {priority}: it must be -100 to 100, higher first")
        max_retries = max_retries_for(options.get("max_retries"), definition.retry, on_demand=on_demand)
        if "max_retries" in options and not 0 <= max_retries <= MAX_RETRIES:
            raise _refused(job, f"max_retries is {max_retries}: it must be 0 to {MAX_RETRIES}")
        on_parent_failure = options.get("on_parent_failure", "skip")
        if on_parent_failure not in _ON_PARENT_FAILURE:
            raise _refused(job, f"on_parent_failure is {on_parent_failure!r}: it must be 'skip' or 'run'")
        has_key = (options.get("concurrency_key") or definition.concurrency_key) is not None
        webhook_url = options.get("webhook_url")
        if webhook_url is not None:
            require_webhook_url(webhook_url, self._webhooks_may_reach)
        return NewExecution(
            id=self._world.new_id(),
            environment=self._environment,
            queue=options.get("queue", definition.queue),
            job_name=definition.name,
            trigger=trigger,
            organization_id=options.get("organization_id"),
            user_id=options.get("user_id"),
            priority=priority,
            max_retries=max_retries,
            run_at=self._run_at(job, options),
            unique_key=_key(job, "unique_key", options.get("unique_key")),
            limit_key=_limit_key(job, options.get("concurrency_key")),
            limit_max=definition.running_limit or (1 if has_key and definition.rate is None else None),
            rate=definition.rate,
            search_terms=_terms(job, options.get("tags", ())),
            fail_when_lost=definition.on_lost is OnLost.FAIL,
            depends_on=tuple(
                parent if isinstance(parent, UUID) else parent.id for parent in options.get("depends_on", ())
            ),
            run_after_failure=on_parent_failure == "run",
            webhook_url=None if webhook_url is None else self._cipher.encrypt_url(webhook_url),
        )

    def _run_at(self, job: RegisteredJob, options: EnqueueOptions) -> datetime | None:
        run_at, delay = options.get("run_at"), options.get("delay")
        if run_at is not None and delay is not None:
            raise _refused(job, "both run_at and delay are given: keep one")
        if delay is not None:
            return self._world.now() + delay
        if run_at is not None and run_at.tzinfo is None:
            raise _refused(job, f"run_at {run_at.isoformat()} has no time zone: give it one, for instance `tzinfo=UTC`")
        return run_at

    def _with_payload(self, template: NewExecution, job: RegisteredJob, payload: object) -> NewExecution:
        text = payload_text(payload, job.definition.name) if payload is not None else None
        # Built-in processors check their payload in their first step, so that the failure is an execution to look at.
        if job.handler.payload_type is not None:
            job.handler.read_payload(None if text is None else read_json(text), job.definition.name)
        if text is not None:
            text = self._cipher.encrypt(text, job.definition.name, sensitive=job.definition.sensitive)
        return replace(template, id=self._world.new_id(), payload=text)


def _refused(job: RegisteredJob, problem: str) -> DefinitionError:
    return DefinitionError(f"job {job.definition.name!r} cannot be enqueued: {problem}")


def _key(job: RegisteredJob, option: str, value: str | None) -> str | None:
    if value is not None and not 0 < len(value) <= MAX_KEY:
        raise _refused(job, f"{option} has {len(value)} characters: it must have 1 to {MAX_KEY}")
    return verbatim_text(value, MAX_KEY) if value is not None else None


def _limit_key(job: RegisteredJob, concurrency_key: str | None) -> str | None:
    """Return the key whose executions are limited together: the job's own, or the job's with the caller's key."""
    definition = job.definition
    key = _key(job, "concurrency_key", concurrency_key or definition.concurrency_key)
    if definition.running_limit is None and definition.rate is None and definition.breaker is None and key is None:
        return None
    return f"{definition.name}:{key}" if key is not None else definition.name


def _terms(job: RegisteredJob, tags: Sequence[str]) -> list[str] | None:
    if len(tags) > MAX_TAGS:
        raise _refused(job, f"{len(tags)} tags are given: at most {MAX_TAGS} are kept")
    return [f"tag:{_key(job, 'a tag', tag)}" for tag in tags] or None
