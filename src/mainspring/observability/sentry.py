"""Sentry: failures as events, runs of schedules as check-ins; asked for by `MAINSPRING_SENTRY_DSN`.

A program that calls `sentry_sdk.init` itself keeps its own client, and its jobs are told by that one. Whatever goes
wrong here is logged and goes no further: no job waits for Sentry, and none fails of it. See docs/sentry.md.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.redaction import redact
from mainspring.errors import ConfigurationError
from mainspring.observability.sentry_events import breadcrumb, failure_event, names, tags
from mainspring.observability.sentry_monitors import monitor_slug

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from sentry_sdk.scope import Scope

    from mainspring.domain.failure import Failure
    from mainspring.observability.run_identity import RunIdentity
    from mainspring.settings import Settings

SCHEDULED: Final = frozenset({"cron", "interval"})
"""The triggers whose runs check in, in the words of `Trigger`."""
FLUSH_SECONDS: Final = 3.0
"""How long a process that ends waits for its last events to go out."""
_logger = logging.getLogger(__name__)


def open_sentry(settings: Settings | None) -> Sentry | None:
    """Return the way to Sentry; None: nobody asks for one.

    Args:
        settings: What may ask for one; None: only a program that has set up Sentry by itself.

    Raises:
        ConfigurationError: A DSN is set, and it is none, or the package is not installed.
    """
    if "sentry_sdk" in sys.modules:
        import sentry_sdk

        if sentry_sdk.get_client().is_active():
            return Sentry()
    if settings is None or settings.sentry_dsn is None:
        return None
    _start_client(settings, settings.sentry_dsn.get_secret_value())
    return Sentry()


def _start_client(settings: Settings, dsn: str) -> None:
    try:
        import sentry_sdk
        from sentry_sdk.integrations.dedupe import DedupeIntegration
        from sentry_sdk.integrations.excepthook import ExcepthookIntegration
        from sentry_sdk.integrations.logging import LoggingIntegration
        from sentry_sdk.integrations.threading import ThreadingIntegration
        from sentry_sdk.utils import BadDsn
    except ImportError as error:
        raise ConfigurationError(
            "MAINSPRING_SENTRY_DSN: it needs a package that is not installed: pip install 'mainspring[sentry]'"
        ) from error
    try:
        sentry_sdk.init(
            dsn=dsn,
            environment=settings.environment,
            server_name=settings.node,
            # No integration that records by itself what may not leave: arguments of the command line, queries, bodies.
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[LoggingIntegration(), DedupeIntegration(), ExcepthookIntegration(), ThreadingIntegration()],
            in_app_exclude=["mainspring"],
            include_local_variables=False,
            before_send=_redacted,
            before_breadcrumb=_redacted,
        )
    except BadDsn as error:
        raise ConfigurationError(
            f"MAINSPRING_SENTRY_DSN: it is no DSN ({error}): copy it from the project's settings in Sentry, such as "
            "https://key@o0.ingest.sentry.io/1"
        ) from None


def _redacted(told: Any, _hint: Any) -> Any:  # noqa: ANN401 - events and breadcrumbs are the SDK's
    return redact(told)


class Sentry:
    """Tells Sentry of the executions of one node, by the client of the process."""

    @contextmanager
    def attempt(self, run: RunIdentity, facts: Mapping[str, object], *, organization: str | None) -> Generator[Scope]:
        """Let whatever is told to Sentry in the block, by anybody, carry the facts of an attempt.

        Args:
            run: Whose attempt it is.
            facts: What else the job's context shows: JSON.
            organization: Whose execution it is. Its tag is a keyed hash: enough to count whom a failure hits, and to
                find the execution, whose id is beside it, it takes an account here.
        """
        import sentry_sdk

        with sentry_sdk.isolation_scope() as scope:
            scope.clear_breadcrumbs()  # of this task alone: what the loops of the node did has nothing to do with it
            said = {"queue": facts.get("queue"), "organization": self._hashed(organization)}
            scope.set_tags(tags(names(run) | said))
            scope.set_context("job", redact({**names(run), **facts}))
            yield scope

    def note(
        self, scope: Scope, category: str, message: str, data: Mapping[str, object], *, level: str = "info"
    ) -> None:
        """Keep what a handler said, to be told with a failure that may follow."""
        scope.add_breadcrumb(breadcrumb(category, message, level=level, data=data))

    def prepare(
        self,
        run: RunIdentity,
        failure: Failure,
        error: BaseException | None,
        traceparent: str | None = None,
        *,
        told: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the event of a failure, to be sent once its end is written.

        It is made while the secrets of the payload are still known, and without them.

        Args:
            run: Whose failure it is.
            failure: What went wrong.
            error: The exception; None: it was raised in another process.
            traceparent: The span of the attempt.
            told: What a child process has made of the exception.
        """
        import sentry_sdk
        from sentry_sdk.utils import event_from_exception

        if error is not None:
            event, _ = event_from_exception(error, client_options=sentry_sdk.get_client().options)
            told = {"exception": event.get("exception", {})}
        return failure_event(run, failure, told, traceparent)

    def send(self, event: dict[str, Any], scope: Scope | None = None) -> None:
        """Hand an event over to the SDK, which sends it from a thread of its own."""
        import sentry_sdk
        from sentry_sdk.scope import use_isolation_scope

        try:
            if scope is None:
                sentry_sdk.capture_event(event)  # pyright: ignore[reportArgumentType] - checked by its own tests
            else:
                with use_isolation_scope(scope):
                    sentry_sdk.capture_event(event)  # pyright: ignore[reportArgumentType]
        except Exception:
            _logger.warning("an event could not be handed to Sentry", exc_info=True)

    def check_in(
        self,
        job: str,
        execution: str,
        status: str,
        *,
        config: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> None:
        """Say how the run of a schedule stands: `in_progress`, `ok` or `error`.

        All check-ins of an execution have its id, over all of its attempts.

        Args:
            job: The job's name.
            execution: The execution's id.
            status: How it stands.
            config: How Sentry is to watch the schedule; with the first check-in it makes or changes the monitor.
            seconds: How long the run took.
        """
        self.send(
            {
                "type": "check_in",
                "monitor_slug": monitor_slug(job),
                "check_in_id": execution.replace("-", ""),
                "status": status,
                **({"duration": seconds} if seconds is not None else {}),
                **({"monitor_config": dict(config)} if config is not None else {}),
            }
        )

    def tell_end(self, run: RunIdentity, failure: Failure | None, *, seconds: float) -> None:
        """Tell of the end of an execution that another program carried out, once it is written.

        Args:
            run: Whose end it is.
            failure: What it has failed of for good; None: it has not.
            seconds: How long its last attempt took.
        """
        if failure is not None:
            self.send(self.prepare(run, failure, None, run.traceparent if run.incoming_trace_id else None))
        if run.execution is not None and run.trigger in SCHEDULED:
            self.check_in(run.job, run.execution, "ok" if failure is None else "error", seconds=seconds)

    @staticmethod
    def _hashed(organization: str | None) -> str | None:
        import sentry_sdk

        if organization is None:
            return None
        key = sentry_sdk.get_client().options["dsn"] or ""
        return hashlib.blake2s(
            organization.encode(), key=hashlib.sha256(key.encode()).digest(), digest_size=8
        ).hexdigest()


def flush_sentry(seconds: float = FLUSH_SECONDS) -> None:
    """Wait until the events of this process are sent, or `seconds` have passed; never on the event loop."""
    if "sentry_sdk" in sys.modules:
        import sentry_sdk

        sentry_sdk.flush(seconds)
