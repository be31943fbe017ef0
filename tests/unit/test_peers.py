"""Where a request comes from: what proxies say counts only where they are trusted."""

from __future__ import annotations

import pytest

from mainspring.errors import ConfigurationError
from mainspring.security.logins import peer_of
from mainspring.security.peers import TrustedProxies
from mainspring.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "client"),
    [
        ([], "203.0.113.9", [], "203.0.113.9"),
        ([], "203.0.113.9", ["10.1.1.1"], "203.0.113.9"),
        (["10.0.0.0/8"], "203.0.113.9", ["192.0.2.1"], "203.0.113.9"),
        (["10.0.0.0/8"], "10.0.0.2", [], "10.0.0.2"),
        (["10.0.0.0/8"], "10.0.0.2", ["203.0.113.9"], "203.0.113.9"),
        (["10.0.0.0/8"], "10.0.0.2", ["192.0.2.1, 203.0.113.9"], "203.0.113.9"),
        (["10.0.0.0/8"], "10.0.0.2", ["192.0.2.1", "203.0.113.9, 10.0.0.3"], "203.0.113.9"),
        (["10.0.0.0/8"], "10.0.0.2", ["10.0.0.4, 10.0.0.3"], "10.0.0.4"),
        (["10.0.0.0/8"], "10.0.0.2", ["192.0.2.1, nonsense, 10.0.0.3"], "10.0.0.3"),
        (["10.0.0.0/8"], "10.0.0.2", [""], "10.0.0.2"),
        (["10.0.0.2"], "10.0.0.2", ["203.0.113.9:4711"], "203.0.113.9"),
        (["10.0.0.2"], "::ffff:10.0.0.2", ["203.0.113.9"], "203.0.113.9"),
        (["::1"], "::1", ["[2001:db8::7]:443"], "2001:db8::7"),
        (["::1"], "::1", ["2001:db8::7"], "2001:db8::7"),
        (["10.0.0.0/8"], None, ["203.0.113.9"], None),
        (["10.0.0.0/8"], "testclient", ["203.0.113.9"], "testclient"),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_trusted_proxy(
    proxies: list[str], peer: str | None, forwarded: list[str], client: str | None
) -> None:
    assert TrustedProxies(proxies).client_of(peer, forwarded) == client


def test_what_is_no_address_is_refused_by_the_name_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_TRUSTED_PROXIES", "10.0.0.0/8, proxy.internal")
    with pytest.raises(ConfigurationError, match=r"MAINSPRING_TRUSTED_PROXIES.*'proxy\.internal'"):
        load_settings()
    assert Settings(trusted_proxies=("10.0.0.0/8", "::1")).trusted_proxies == ("10.0.0.0/8", "::1")


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("testclient", "unknown"),
        (None, "unknown"),
    ],
)
def test_one_host_cannot_be_many_peers_by_its_ipv6_network(address: str | None, peer: str) -> None:
    assert peer_of(address) == peer
