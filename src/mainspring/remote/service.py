"""The side of a service: jobs declared as those of an application, run for a scheduler that it knows by HTTP alone."""

from __future__ import annotations

import atexit
import logging
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.webhook_signature import sign
from mainspring.egress.client import Egress
from mainspring.egress.target import read_target
from mainspring.errors import ConfigurationError, EgressRefusedError
from mainspring.jobs.job_run import Harness
from mainspring.observability.telemetry import hand_over_telemetry
from mainspring.observability.trace_export import set_up_trace_export
from mainspring.remote.asgi import ServiceAsgi
from mainspring.remote.background_loop import BackgroundLoop
from mainspring.remote.declared_jobs import ServiceJobs
from mainspring.remote.endpoint import ServiceEndpoint
from mainspring.remote.registration import Registrar, RegistrationRefusedError, RegistrationTimeoutError
from mainspring.remote.served_attempts import ServedAttempts
from mainspring.remote.wsgi import ServiceWsgi
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from wsgiref.types import WSGIApplication

    from mainspring.remote.registration import RegisteredServiceJob
    from mainspring.world import World

_logger = logging.getLogger(__name__)

_REFUSED_AGAIN_SECONDS: Final = 60.0
_LOOP_END_SECONDS: Final = 5.0


class RemoteService(ServiceJobs):
    """A service whose jobs a scheduler runs over HTTP: it registers them, and answers when it is called.

    It needs no store and no settings. What it works on in one process is kept in that process.

    Args:
        name: What the service is called; the name of its key.
        scheduler_url: Where its scheduler answers, for instance `http://scheduler-service:7007`.
        callback_url: Where the scheduler reaches this service: `/api/jobs/{name}/execute` is appended to it.
        key: What `mainspring key create --service NAME --prefix PREFIX` printed as `key`.
        signing_secret: What it printed as `signingSecret`; two, while one key replaces another.
        version: Which code this is, for instance `1.4.2`: an older build then undoes nothing that a newer one has said.
        shutdown_grace: How long running work may take when the service ends.
        world: Time, chance, threads and tasks; tests give another one.

    Raises:
        ConfigurationError: An address, the key or a secret cannot be used.

    Example:
        >>> service = RemoteService(
        ...     "email-service",
        ...     scheduler_url="http://scheduler-service:7007",
        ...     callback_url="http://email-service:7006",
        ...     key="msk_…",
        ...     signing_secret="whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u",
        ... )
        >>> @service.job("weekly-trending-digest", schedule=Cron("0 9 * * MON"), job_type="email")
        ... async def weekly_trending_digest() -> None: ...
    """

    def __init__(
        self,
        name: str,
        *,
        scheduler_url: str,
        callback_url: str,
        key: str,
        signing_secret: str | Sequence[str],
        version: str | None = None,
        shutdown_grace: timedelta = timedelta(seconds=30),
        world: World | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self._secrets = [signing_secret] if isinstance(signing_secret, str) else list(signing_secret)
        self._world = world or RealWorld()
        self._grace = shutdown_grace.total_seconds()
        self._check({"scheduler_url": scheduler_url, "callback_url": callback_url}, key)
        self._egress = Egress(world=self._world)
        self._registrar = Registrar(
            service=name,
            scheduler_url=scheduler_url,
            callback_url=callback_url,
            key=key,
            version=version,
            egress=self._egress,
            world=self._world,
        )
        self._attempts = ServedAttempts(
            self.registry, service=name, egress=self._egress, harness=Harness(world=self._world), world=self._world
        )
        self._endpoint = ServiceEndpoint(
            self._attempts, self.registry, service=name, secrets=self._secrets, world=self._world
        )
        self._loop: BackgroundLoop | None = None

    def _check(self, addresses: Mapping[str, str], key: str) -> None:
        for option, url in addresses.items():
            try:
                read_target(url)
            except EgressRefusedError as error:
                raise ConfigurationError(f"service {self.name!r}: {option} cannot be used: {error}") from None
            if "?" in url or "#" in url:
                raise ConfigurationError(
                    f"service {self.name!r}: {option} has a query or a fragment: paths are appended to it, so leave "
                    "them out"
                )
        if not key.strip():
            raise ConfigurationError(
                f"service {self.name!r} has no key: make one with `mainspring key create --service {self.name} "
                "--prefix PREFIX`"
            )
        try:
            sign(self._secrets, "check", self._world.now(), b"")
        except ConfigurationError:
            raise ConfigurationError(
                f"service {self.name!r}: signing_secret cannot be read: it is what `mainspring key create` printed as "
                "`signingSecret`, and begins with `whsec_`"
            ) from None

    # Registering ----------------------------------------------------------------------------------------------------

    async def register_all(self, *, timeout: timedelta | None = None) -> list[RegisteredServiceJob]:
        """Register every job, and tell the scheduler that there are no others: those dropped from code are retired.

        While the scheduler is down it is asked again, at first after a second, then less and less often, at most every
        minute or so; the log says what it waits for. Call it again as often as you like: what admins changed stays.

        Args:
            timeout: The longest time for all of it; None: until the scheduler answers.

        Returns:
            What the scheduler has made of each job.

        Raises:
            RegistrationRefusedError: It does not take one of them; the others are registered all the same.
            RegistrationTimeoutError: It could not be reached in time.
        """
        return await self._registrar.register_all([job.definition for job in self.registry], timeout=timeout)

    async def _keep_registering(self) -> None:
        """Register in the background: what the scheduler refuses is said once, and tried again every minute."""
        said = ""
        while True:
            try:
                await self.register_all()
            except RegistrationRefusedError as error:
                if str(error) != said:
                    said = str(error)
                    _logger.error("%s. It is tried again every minute", said)  # noqa: TRY400 - it says it all
                await self._world.sleep(_REFUSED_AGAIN_SECONDS)
            else:
                return

    # Serving --------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:  # noqa: ARG002 - what frameworks pass
        """Register the jobs in the background, and let running work end when the block is left.

        Give it to a framework that has a lifespan, or enter it in the one that you have.

        Example:
            >>> api = FastAPI(lifespan=service.lifespan)  # doctest: +SKIP
            >>> api.mount("/", service.asgi())  # doctest: +SKIP
        """
        registering = self._world.spawn(self._keep_registering(), name=f"registration of {self.name}")
        try:
            async with self._serving():
                yield
        finally:
            registering.cancel()

    @asynccontextmanager
    async def _lifespan_on_a_thread(self) -> AsyncGenerator[None]:
        """Live as `lifespan`, but begin only after a first try: the server may fork next, and nothing is half done."""
        registered = True
        try:
            await self.register_all(timeout=timedelta(0))
        except (RegistrationRefusedError, RegistrationTimeoutError):
            registered = False
        async with self._serving() if registered else self.lifespan():
            yield

    @asynccontextmanager
    async def _serving(self) -> AsyncGenerator[None]:
        set_up_trace_export(node=self.name, service=self.name)
        self._attempts.open()
        try:
            yield
        finally:
            await self._attempts.drain(self._grace)
            self._egress.close()
            await hand_over_telemetry(self._world)

    def asgi(self, *, answer_within: timedelta = timedelta(seconds=10)) -> ServiceAsgi:
        """Return an ASGI application that answers the scheduler, to be mounted or served on its own.

        Args:
            answer_within: How long a call may wait for the end of the work; work that takes longer is answered 202 and
                goes on, and the scheduler is told by callbacks.
        """
        return ServiceAsgi(self._endpoint, self.lifespan, answer_within=answer_within, world=self._world)

    def wsgi(
        self, inner: WSGIApplication | None = None, *, answer_within: timedelta = timedelta(seconds=1)
    ) -> ServiceWsgi:
        """Return a WSGI application that answers the scheduler, and start the thread that the work runs on.

        The jobs are registered before this returns; where the scheduler does not answer, it is asked on in the
        background. A process that ends lets running work end first: `close` does it earlier, for servers with a hook.

        Args:
            inner: The application of Flask or Django; it answers all that is not a call of the scheduler.
            answer_within: As for `asgi`; meanwhile a thread of the server is held.

        Example:
            >>> application = service.wsgi(get_wsgi_application())  # doctest: +SKIP
        """
        if self._loop is None:
            self._loop = BackgroundLoop(self._world, self._lifespan_on_a_thread)
            atexit.register(self.close)
        self._loop.start()
        return ServiceWsgi(self._endpoint, self._loop, answer_within=answer_within, inner=inner)

    def close(self) -> None:
        """End what `wsgi` started, once running work has ended or the grace is over; the process does so at its end."""
        if self._loop is not None:
            self._loop.close(self._grace + _LOOP_END_SECONDS)
