"""Registration: every job of the code, as often as it takes, and what the scheduler makes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Cron, Every, JobConfig, JobContext, JobResult, OnStartup, RemoteService, Retry, Thresholds
from mainspring.api.api_jobs_register_bodies import RegisterJob
from mainspring.domain.circuit_breaker import CircuitBreaker
from mainspring.errors import ConfigurationError, DefinitionError
from mainspring.remote.registration import RegistrationRefusedError, RegistrationTimeoutError
from tests.remote.stand_in import KEY, SECRET

if TYPE_CHECKING:
    from tests.remote.conftest import Deployment


def declare_two(deployment: Deployment) -> None:
    @deployment.service.job("weekly-digest", schedule=Cron("0 9 * * MON", tz="Europe/Paris"), job_type="email")
    async def weekly_digest() -> None:
        """Send weekly email with trending content.

        To everybody.
        """

    @deployment.service.job("clean-up", schedule=OnStartup(), description="Remove bounces")
    def clean_up() -> None: ...


async def test_every_job_is_registered_with_the_documented_body(deployment: Deployment) -> None:
    declare_two(deployment)

    registered = await deployment.service.register_all()

    first, second, listed = deployment.scheduler.received
    assert (first.method, first.path) == ("POST", "/api/jobs/register")
    seed: dict[str, Any] = {
        "name": "weekly-digest",
        "serviceName": "email-service",
        "serviceUrl": "http://email-service:7006",
        "displayName": "weekly-digest",
        "description": "Send weekly email with trending content.",
        "cronExpression": "0 9 * * MON",
        "jobType": "email",
        "enabled": False,
        "config": {},
    }
    assert seed.items() <= first.body.items()
    assert (first.body["timezone"], first.body["codeVersion"]) == ("Europe/Paris", "1.4.2")
    assert (second.body["cronExpression"], second.body["description"]) == ("@reboot", "Remove bounces")
    assert (listed.method, listed.path) == ("PUT", "/api/services/email-service/jobs")
    assert listed.body == {"names": ["weekly-digest", "clean-up"], "codeVersion": "1.4.2"}
    assert [(job.name, job.outcome, job.enabled) for job in registered] == [
        ("weekly-digest", "created", False),
        ("clean-up", "created", False),
    ]


async def test_all_that_code_says_arrives_as_it_was_said(deployment: Deployment) -> None:
    @deployment.service.job(
        "everything",
        schedule=Cron("*/5 8-18 * * 1-5", tz="Asia/Tokyo"),
        display_name="Everything",
        group="email",
        job_type="digest",
        queue="slow",
        retry=Retry(max_retries=5, base=timedelta(seconds=2), factor=3, cap=timedelta(minutes=4), jitter=0.1),
        timeout=timedelta(minutes=5),
        breaker=CircuitBreaker(failures=3, failure_rate=0.5, wait=timedelta(minutes=1)),
        thresholds=Thresholds(staleness=timedelta(minutes=30), failure_rate=0.5, execution_time=timedelta(minutes=1)),
        max_running=2,
        rate_limit="100/m",
        overlap="queue",
        misfire="skip",
        catch_up=timedelta(hours=2),
        jitter=timedelta(seconds=30),
        enabled=True,
        config={"batch": 10},
    )
    async def everything() -> None: ...

    await deployment.service.register_all()

    [declared] = [job.definition for job in deployment.service.registry]
    body = RegisterJob.model_validate(deployment.scheduler.received[0].body)
    assert body.unknown_fields == []
    assert body.service_job().definition == declared


async def test_an_object_of_the_scheduler_document_is_a_job(deployment: Deployment) -> None:
    class WeeklyTrendingDigestJob:
        name = "weekly-trending-digest"
        displayName = "Weekly Trending Digest"  # noqa: N815 - as the document writes it
        description = "Send weekly email with trending content"
        cronExpression = "0 9 * * MON"  # noqa: N815 - as above
        jobType = "email"  # noqa: N815 - as above

        async def execute(self, context: JobContext[Any]) -> JobResult:
            return JobResult(items_processed=3, metadata={"usersCount": 3})

    deployment.service.register(WeeklyTrendingDigestJob())
    await deployment.service.register_all()
    answer = await deployment.send(deployment.call("weekly-trending-digest"))

    documented = {
        "name": "weekly-trending-digest",
        "serviceName": "email-service",
        "serviceUrl": "http://email-service:7006",
        "displayName": "Weekly Trending Digest",
        "description": "Send weekly email with trending content",
        "cronExpression": "0 9 * * MON",
        "jobType": "email",
        "enabled": False,
    }
    assert documented.items() <= deployment.scheduler.received[0].body.items()
    assert answer.json()["metadata"] == {"usersCount": 3}


async def test_a_handler_stays_the_function_that_it_was(deployment: Deployment) -> None:
    @deployment.service.job("double")
    def double(payload: dict[str, int]) -> int:
        return payload["n"] * 2

    assert double({"n": 21}) == 42


async def test_jobs_are_registered_once_the_scheduler_is_up(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    declare_two(deployment)
    deployment.egress.is_down = True
    registering = deployment.start(deployment.service.register_all())
    await deployment.pass_time(600)
    assert not registering.done()
    tries = caplog.text.count("waits for its scheduler")
    assert 10 <= tries <= 20, "it waits longer and longer, at most about a minute"
    assert "took no connection: it is down" in caplog.text

    deployment.egress.is_down = False
    deployment.scheduler.answer_next("register", (503, {}), (429, {}))
    await deployment.pass_time(200)

    assert len(await registering) == 2


async def test_a_wait_has_an_end_where_one_is_given(deployment: Deployment) -> None:
    declare_two(deployment)
    deployment.egress.is_down = True
    registering = deployment.start(deployment.service.register_all(timeout=timedelta(seconds=20)))
    await deployment.pass_time(21)

    with pytest.raises(RegistrationTimeoutError, match=r"could not register job 'weekly-digest'.*Start the scheduler"):
        await registering


async def test_a_refused_job_keeps_no_other_from_being_registered(deployment: Deployment) -> None:
    declare_two(deployment)
    refusal = {"code": "PERMISSION_DENIED", "detail": "the key is for names that begin with 'email-'"}
    deployment.scheduler.answer_next("register", (403, refusal))

    with pytest.raises(RegistrationRefusedError, match=r"job 'weekly-digest'.*PERMISSION_DENIED: the key is for names"):
        await deployment.service.register_all()
    assert [body["name"] for body in deployment.scheduler.said("register")] == ["weekly-digest", "clean-up"]
    assert deployment.scheduler.said("jobs") == [], "a list of what is left would retire nothing, and tell a lie"


async def test_a_service_that_starts_registers_in_the_background(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    declare_two(deployment)
    refusal: tuple[int, Any] = (401, {"code": "UNAUTHENTICATED", "detail": "the key is revoked"})
    deployment.scheduler.answer_next("register", refusal, refusal, refusal, refusal)
    async with deployment.service.lifespan():
        await deployment.pass_time(130)

        assert len(deployment.scheduler.said("register")) == 6
        assert caplog.text.count("It is tried again every minute") == 1
        assert len(deployment.scheduler.said("jobs")) == 1


async def test_a_service_that_has_ended_asks_no_more(deployment: Deployment) -> None:
    declare_two(deployment)
    deployment.egress.is_down = True
    async with deployment.service.lifespan():
        await deployment.pass_time(3)
    deployment.egress.is_down = False
    await deployment.pass_time(200)

    assert deployment.scheduler.received == []


async def test_a_field_that_an_older_scheduler_does_not_know_is_said(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    declare_two(deployment)
    answer = {"outcome": "created", "enabled": False, "warnings": ["rateLimit"]}
    deployment.scheduler.answer_next("register", (201, answer))

    [first, _] = await deployment.service.register_all()

    assert first.warnings == ["rateLimit"]
    assert "the scheduler does not know rateLimit" in caplog.text


async def nothing() -> None: ...


def test_an_interval_is_refused_with_the_way_out(deployment: Deployment) -> None:
    declare = deployment.service.job("every", schedule=Every(timedelta(minutes=5)))
    with pytest.raises(DefinitionError, match=r"Cron\('\*/5"):
        declare(nothing)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (JobConfig("every", schedule_interval_ms=5_000), "write an interval"),
        (JobConfig("both", schedule=Cron("0 9 * * *"), run_on_startup=True), "a second job with"),
    ],
)
def test_an_object_that_no_scheduler_could_be_told_of_is_refused(
    deployment: Deployment, config: JobConfig, said: str
) -> None:
    class Every5Seconds:
        def __init__(self) -> None:
            self.config = config

        async def execute(self) -> None: ...

    with pytest.raises(DefinitionError, match=said):
        deployment.service.register(Every5Seconds())


def test_two_jobs_of_one_name_are_refused(deployment: Deployment) -> None:
    declare_two(deployment)
    with pytest.raises(DefinitionError, match="two jobs are called 'weekly-digest'"):
        declare_two(deployment)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scheduler_url": "scheduler:7007"}, "scheduler_url cannot be used"),
        ({"callback_url": "http://email-service:7006/?x=1"}, "callback_url has a query"),
        ({"key": " "}, "mainspring key create --service email-service"),
        ({"signing_secret": "secret"}, "begins with `whsec_`"),
        ({"signing_secret": []}, "signing_secret"),
    ],
)
def test_what_can_never_work_is_refused_when_the_service_is_made(wrong: dict[str, Any], said: str) -> None:
    right: dict[str, Any] = {
        "scheduler_url": "http://scheduler-service:7007",
        "callback_url": "http://email-service:7006",
        "key": KEY,
        "signing_secret": SECRET,
    }
    with pytest.raises(ConfigurationError, match=said):
        RemoteService("email-service", **(right | wrong))


async def test_two_secrets_hold_while_one_key_replaces_another(deployment: Deployment) -> None:
    new = "whsec_bm9ib2R5IGtub3dzIHRoaXMgc2VjcmV0"
    service = RemoteService(
        "email-service",
        scheduler_url=deployment.scheduler.url,
        callback_url="http://email-service:7006",
        key=KEY,
        signing_secret=[new, SECRET],
        world=deployment.world,
    )

    @service.job("work")
    async def work() -> None: ...

    for fence, secret in enumerate((SECRET, new), start=1):
        answer = await deployment.send(deployment.call("work", fence=fence, secret=secret), service.asgi())
        assert answer.status_code == 200
