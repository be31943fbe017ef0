"""The plugin of pytest: an application under test as a fixture, for those tests that ask for it.

Example:
    >>> # pyproject.toml: [tool.pytest.ini_options] mainspring_app = "shop.jobs:app"
    >>> async def test_an_order_sends_a_receipt(mainspring_kit: Kit) -> None:
    ...     await order(item="lamp")
    ...     mainspring_kit.assert_enqueued("send-receipt", {"item": "lamp"})
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Final

import pytest

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # the plugin of anyio, which is always there, takes plain fixtures
    from pytest import fixture as async_fixture  # noqa: PT013 - one name for either

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mainspring import Mainspring
    from mainspring.testing import Kit

_SETTING: Final = "mainspring_app"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what `[tool.pytest.ini_options]` may say."""
    parser.addini(_SETTING, "The application of the fixture mainspring_kit: package.module:name")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers", "mainspring(**options): what mainspring_kit gives to testing.kit, such as at=, inline=, lease="
    )


@pytest.fixture
def mainspring_app(request: pytest.FixtureRequest) -> Mainspring:
    """The application that `mainspring_app` in the settings of pytest names; define a fixture of this name instead."""
    from mainspring import Mainspring

    path = str(request.config.getini(_SETTING) or "")
    if not path:
        raise pytest.UsageError(
            f"mainspring_kit does not know which application to test: say so in the settings of pytest with "
            f'`{_SETTING} = "package.module:name"`, or define a fixture `mainspring_app` that returns it'
        )
    try:
        found = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise pytest.UsageError(
            f"{_SETTING} = {path!r} of the settings of pytest leads nowhere: {error}. Write `package.module:name`, of "
            "what can be imported from where pytest runs (see its setting `pythonpath`)"
        ) from error
    if not isinstance(found, Mainspring):
        raise pytest.UsageError(f"{_SETTING} = {path!r} is a {type(found).__name__}, and no Mainspring")
    return found


@async_fixture
async def mainspring_kit(request: pytest.FixtureRequest, mainspring_app: Mainspring) -> AsyncGenerator[Kit]:
    """The application under test, on an empty store in memory: `testing.kit(mainspring_app)`.

    `@pytest.mark.mainspring(at=..., inline=True)` gives options to it; those of the closest marker win.
    """
    from mainspring import testing

    options: dict[str, object] = {}
    for marker in reversed(list(request.node.iter_markers("mainspring"))):
        options |= marker.kwargs
    async with testing.kit(mainspring_app, **options) as kit:  # pyright: ignore[reportArgumentType] - of a marker
        yield kit
