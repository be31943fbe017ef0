"""What a service tells its scheduler of an attempt that outlives its call: heartbeats, progress, and its end."""

from __future__ import annotations

import logging
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Final

from mainspring.domain.retry import Retry
from mainspring.errors import EgressFailedError, EgressRefusedError
from mainspring.remote import protocol
from mainspring.remote.message_fields import MalformedMessageError
from mainspring.remote.protocol import CallbackAnswer, ProgressReport
from mainspring.remote.served_attempt import StopReason
from mainspring.world import ends_within

if TYPE_CHECKING:
    from mainspring.egress.client import Answer, Egress
    from mainspring.remote.protocol import CallbackResult
    from mainspring.remote.served_attempt import ServedAttempt
    from mainspring.world import World

_logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""Progress is told at most this often."""
HEARTBEAT_SECONDS: Final = 3.0
"""Often enough for a cancellation to be heard of soon; a shorter lease asks for more."""
_CALL_DEADLINE: Final = timedelta(seconds=5)
_COMPLETE_DEADLINE: Final = timedelta(seconds=30)
_COMPLETE_AFTER_DEADLINE: Final = 60.0
_MAX_ANSWER_BYTES: Final = 16_384
_BACKOFF: Final = Retry(max_retries=100, base=timedelta(seconds=1), cap=timedelta(seconds=30))
_TAKEN_BACK: Final = frozenset({401, 403, 404, 409, 410})
"""The attempt is this service's no more: its token holds no longer, or nobody knows the execution."""
_PASSING: Final = frozenset({408, 425, 429})


class Reporting:
    """Tells the scheduler of one attempt.

    Every report carries the token of the call. The address comes from the call as well, which was signed: it may be any
    that the scheduler names.

    Args:
        attempt: The attempt.
        egress: Sends the reports.
        world: Time, chance and tasks.
    """

    def __init__(self, attempt: ServedAttempt, egress: Egress, world: World) -> None:
        self._attempt = attempt
        self._egress = egress
        self._world = world
        self._heard_at = world.monotonic()
        self._lease_seconds = attempt.request.callback.lease_seconds

    async def run(self) -> None:
        """Report until the attempt has ended, and then its result."""
        attempt = self._attempt
        while not await ends_within(self._world, attempt.ended, min(LOOK_SECONDS, self._lease_seconds / 3)):
            if attempt.has_news:
                attempt.has_news = False
                attempt.has_news |= not await self._tell(protocol.PROGRESS, self._progress())
            elif self._world.monotonic() - self._heard_at >= min(HEARTBEAT_SECONDS, self._lease_seconds / 3):
                await self._tell(protocol.HEARTBEAT, b"{}")
        result = attempt.ended.result()
        if result is not None:
            await self._complete(result)

    def _progress(self) -> bytes:
        reported = self._attempt.context.reported
        return ProgressReport(
            progress=reported.percent,
            current_step=reported.current_step or None,
            total_steps=reported.total_steps,
            message=reported.message,
            items_processed=reported.items_processed,
            items_succeeded=reported.items_succeeded,
            items_failed=reported.items_failed,
        ).to_bytes()

    async def _tell(self, word: str, body: bytes) -> bool:
        """Send a heartbeat or progress, do what the scheduler answers, and return whether that was an answer."""
        try:
            answer = await self._post(word, body, _CALL_DEADLINE)
        except (EgressFailedError, EgressRefusedError) as error:
            self._stop_without_lease(str(error))
            return False
        if answer.is_success:
            self._heard_at = self._world.monotonic()
            if _is_cancelled(answer):
                self._attempt.stop(StopReason.CANCEL)
        elif answer.status in _TAKEN_BACK:
            _logger.warning("%s: the scheduler has taken it back (HTTP %d), and it stops", self, answer.status)
            self._attempt.stop(StopReason.LEASE_LOST)
        else:
            self._stop_without_lease(f"the scheduler answered HTTP {answer.status}")
        return answer.is_success or _is_refused_for_good(answer)

    def _stop_without_lease(self, why: str) -> None:
        """Stop the work once the scheduler has heard nothing for so long that it gives it to another attempt."""
        silence = self._world.monotonic() - self._heard_at
        if silence < self._lease_seconds:
            _logger.info("%s: %s; trying again", self, why)
            return
        _logger.error(
            "%s: the scheduler could not be told for %.0f s (%s), and will start it again: this attempt stops",
            self, silence, why,
        )  # fmt: skip
        self._attempt.stop(StopReason.LEASE_LOST)

    async def _complete(self, result: CallbackResult) -> None:
        """Tell how it ended, again and again until somebody listens or it is too late."""
        body = result.to_bytes()
        until = self._attempt.times_out_at + _COMPLETE_AFTER_DEADLINE
        why = ""
        for retry in count():
            wait: timedelta | None = None
            try:
                answer = await self._post(protocol.COMPLETE, body, _COMPLETE_DEADLINE)
            except (EgressFailedError, EgressRefusedError) as error:
                why = str(error)
            else:
                if answer.is_success:
                    return
                why = f"the scheduler answered HTTP {answer.status}"
                wait = answer.retry_after(self._world.now())
                if _is_refused_for_good(answer):
                    break
            seconds = _BACKOFF.delay(
                retry, chance=self._world.random(), at_least=wait.total_seconds() if wait is not None else None
            )
            if self._world.monotonic() + seconds > until:
                break
            _logger.info("%s: its end could not be told (%s); again in %.1f s", self, why, seconds)
            await self._world.sleep(seconds)
        _logger.warning("%s: its end is told no more: %s. The scheduler decides what becomes of it", self, why)

    async def _post(self, word: str, body: bytes, deadline: timedelta) -> Answer:
        callback = self._attempt.request.callback
        return await self._egress.request(
            "POST",
            f"{callback.url}/{word}",
            body=body,
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {callback.token}"},
            deadline=deadline,
            max_body_bytes=_MAX_ANSWER_BYTES,
            set_by_operator=True,
        )

    def __str__(self) -> str:
        """Name the job and the execution, for log lines."""
        return f"job {self._attempt.request.job_name!r}, execution {self._attempt.request.execution_id}"


def _is_cancelled(answer: Answer) -> bool:
    try:
        return CallbackAnswer.from_bytes(answer.body).cancel_requested
    except MalformedMessageError:
        return False  # something between the two answered; the next report asks again


def _is_refused_for_good(answer: Answer) -> bool:
    return 400 <= answer.status < 500 and answer.status not in _PASSING  # noqa: PLR2004 - RFC 9110 §15.5
