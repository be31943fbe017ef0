"""A job with a breaker, from its declaration to its alert, on a virtual clock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mainspring import CircuitBreaker, Mainspring, PermanentError, Retry, TransientError, testing
from mainspring.domain.alert import AlertRule
from mainspring.domain.execution import Status
from mainspring.errors import DefinitionError


async def test_while_what_it_needs_is_down_nothing_fails_and_nothing_is_lost() -> None:
    app = Mainspring()
    calls: list[bool] = []
    is_up = False

    @app.job("pay", retry=Retry(max_retries=5, base=timedelta(seconds=1)), breaker=CircuitBreaker(failures=3))
    def pay() -> None:
        calls.append(is_up)
        if not is_up:
            raise TransientError("the bank does not answer")

    async with testing.kit(app) as kit:
        for _ in range(20):
            await pay.enqueue()
        await kit.advance(timedelta(minutes=10))
        assert calls.count(False) <= 12, "three that open it, and then one probe after each wait"
        assert [alert.rule for alert in kit.alerts()] == [AlertRule.BREAKER_OPEN]
        assert "the bank does not answer" in kit.alerts()[0].sentence
        is_up = True
        await kit.advance(timedelta(minutes=30))
        assert {execution.status for execution in kit.executions("pay")} == {Status.SUCCEEDED}
        assert kit.alerts() == []


async def test_a_permanent_error_is_the_payloads_fault_and_opens_nothing() -> None:
    app = Mainspring()

    @app.job("pay", breaker=CircuitBreaker(failures=1))
    def pay() -> None:
        raise PermanentError("there is no such account")

    async with testing.kit(app) as kit:
        await pay.enqueue()
        await pay.enqueue()
        await kit.drain()
        assert [execution.status for execution in kit.executions("pay")] == [Status.FAILED, Status.FAILED]


@pytest.mark.parametrize(
    "wrong",
    [
        {"failures": 0},
        {"failure_rate": 0.0},
        {"failure_rate": 1.1},
        {"least_runs": 0},
        {"window": timedelta(0)},
        {"wait": timedelta(0)},
        {"wait": timedelta(hours=1)},
    ],
)
def test_figures_by_which_it_could_never_open_or_never_close_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DefinitionError, match="CircuitBreaker"):
        CircuitBreaker(**wrong)  # type: ignore[arg-type]
