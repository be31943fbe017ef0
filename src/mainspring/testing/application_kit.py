"""An application under test: its jobs on a store in memory, run when the test says so, by a clock that it moves."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Unpack

import orjson

from mainspring import __version__
from mainspring.app import Mainspring, running_app
from mainspring.control.executions import ExecutionCommands
from mainspring.control.handles import JobHandle
from mainspring.domain.access import Scope
from mainspring.domain.write_door import payload_text
from mainspring.errors import MainspringError, WaitTimeoutError
from mainspring.store import definitions, executions
from mainspring.store.open_store import OpenStore
from mainspring.testing.inline import finish_at_once
from mainspring.testing.manual_clock import Clock, ManualWorld
from mainspring.testing.stepper import Stepper
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.access import Actor
    from mainspring.domain.execution import Execution
    from mainspring.domain.execution import Trigger

_MOST_IN_A_DRAIN: Final = 10_000
_MOST_EXECUTIONS: Final = 100_000
_ANY: Final = object()
