"""Apprise and Sentry: channels to what others keep."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import sentry_sdk

from mainspring.alerts.channels.apprise import AppriseChannel
from mainspring.alerts.channels.base import TransientDeliveryError
from mainspring.alerts.channels.sentry import SentryChannel
from mainspring.errors import ConfigurationError
from tests.alerts.conftest import MESSAGE, notification
from tests.egress.conftest import answer
from tests.sentry_transport import Kept

if TYPE_CHECKING:
    from mainspring.alerts.channels.base import ChannelTools
    from tests.egress.conftest import Receivers


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # a plugin of its asks for it
async def test_apprise_reaches_what_a_destination_names(receive: Receivers, tools: ChannelTools) -> None:
    receiver = await receive(answer(b"ok"))
    config = AppriseChannel.Config.model_validate(
        {"default_url": "json://127.0.0.1:1/", "pager_url": receiver.url("/pages", scheme="json")}
    )
    channel = AppriseChannel(config, tools)
    assert await channel.send(notification("pager", channel="apprise")) == "apprise reached 'pager'"
    body = json.loads(receiver.requests[0].partition(b"\r\n\r\n")[2])
    assert (body["title"], body["type"]) == ("weekly-digest failed", "failure")
    assert body["message"].startswith("It failed <!channel> four times & *stopped*.\n\nAttempts: 4")
    with pytest.raises(TransientDeliveryError, match="did not reach 'default'"):
        await channel.send(notification(channel="apprise"))
    with pytest.raises(ConfigurationError, match='"nobody_url"'):
        await channel.send(notification("nobody", channel="apprise"))


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # a plugin of its asks for it
async def test_apprise_names_the_kind_of_a_url_that_it_cannot_read_and_not_its_key(tools: ChannelTools) -> None:
    config = AppriseChannel.Config.model_validate({"default_url": "pigeon://canary"})
    with pytest.raises(ConfigurationError, match="'pigeon'") as refused:
        await AppriseChannel(config, tools).send(notification())
    assert "canary" not in str(refused.value)


async def test_sentry_gets_an_event_that_is_grouped_by_what_it_is_about(tools: ChannelTools) -> None:
    channel = SentryChannel(SentryChannel.Config(), tools)
    with pytest.raises(ConfigurationError, match="MAINSPRING_SENTRY_DSN"):
        await channel.send(notification())
    kept = Kept()
    alert = replace(
        MESSAGE, deduplication_key="staleness:weekly-digest", data={"rule": "staleness", "sentence": "Late."}
    )
    with sentry_sdk.isolation_scope():
        sentry_sdk.init(dsn="https://key@sentry.example/1", transport=kept, default_integrations=False)
        try:
            assert await channel.send(notification(message=alert)) == "Sentry's client took it"
        finally:
            sentry_sdk.get_global_scope().set_client(None)
    (event,) = kept.told
    assert event["message"]["formatted"] == "weekly-digest failed: Late."
    assert (event["level"], event["tags"]) == ("error", {"alert.rule": "staleness"})
    assert event["fingerprint"] == ["mainspring.alert", "staleness:weekly-digest"]
