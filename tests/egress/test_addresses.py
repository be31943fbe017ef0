"""What a URL may name: more than sixty ways to reach the inside, each refused, and the outside let through (S24)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest

from mainspring.egress.addresses import AllowList, is_public
from mainspring.egress.client import Egress
from mainspring.egress.target import read_target
from mainspring.errors import ConfigurationError, EgressFailedError, EgressRefusedError
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Sequence

INSIDE_BY_ADDRESS = [
    "http://127.0.0.1/",
    "http://127.255.255.254/",
    "http://0.0.0.0/",
    "http://0.1.2.3/",
    "http://10.0.0.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/machine",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/v2/credentials",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.0.0.192/opc/v1/instance/",
    "http://192.0.2.1/",
    "http://192.31.196.1/",
    "http://192.52.193.1/",
    "http://192.88.99.1/",
    "http://192.168.1.1/",
    "http://192.175.48.1/",
    "http://198.18.0.1/",
    "http://198.51.100.7/",
    "http://203.0.113.7/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::]/",
    "http://[::1]/",
    "http://[::7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::10.0.0.1]/",
    "http://[100::1]/",
    "http://[2001::1]/",
    "http://[2001:0:7f00:1::]/",
    "http://[2001:20::1]/",
    "http://[2001:db8::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2620:4f:8000::1]/",
    "http://[3fff::1]/",
    "http://[5f00::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
]
IN_DISGUISE = [
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0X7F.0.0.1/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.1./",
    "http://0/",
    "http://[fe80::1%25eth0]/",
    "http://[::1/",
    "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
    "http://127\u30020\u30020\u30021/",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
]
BY_NAME = [
    "http://localhost/",
    "http://LOCALHOST./",
    "http://printer.local/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://app.localhost/",
    "http://router.home.arpa/",
]
BY_SHAPE = [
    "file:///etc/passwd",
    "gopher://example.com/_x",
    "ftp://example.com/",
    "unix:///var/run/docker.sock",
    "//example.com/",
    "example.com",
    "",
    "http://",
    "http:///path",
    "http://user@example.com/",
    "http://user:password@example.com/",
    "http://example.com@127.0.0.1/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com /",
    "http://exa\tmple.com/",
    "http://example.com/\r\nHost: inside",
    "http://example.com:0/",
    "http://example.com:/",
    "http://example.com:65536/",
    "http://example.com:-1/",
    "http://example.com:http/",
    "http://exa mple.com/",
    "http://-/",
    "http://a..b/",
    "http://%31%32%37.0.0.1/",
    "http://example.com/" + "x" * 2_048,
]
PRIVILEGED_PORTS = ["http://example.com:22/", "http://example.com:25/", "https://example.com:139/"]
REFUSED = INSIDE_BY_ADDRESS + IN_DISGUISE + BY_NAME + BY_SHAPE + PRIVILEGED_PORTS


async def public(_host: str, _port: int) -> Sequence[str]:
    return ["93.184.215.14"]


@pytest.mark.parametrize("url", REFUSED)
async def test_what_is_not_the_public_internet_is_refused_before_anything_is_sent(url: str) -> None:
    egress = Egress(world=RealWorld(), resolve=public)
    with pytest.raises(EgressRefusedError):
        await egress.request("GET", url)


def test_there_are_more_than_sixty_of_them() -> None:
    assert len(set(REFUSED)) > 60


@pytest.mark.parametrize(
    "inside", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "64:ff9b::a00:1"]
)
@pytest.mark.parametrize("place", [0, 1])
async def test_a_name_is_refused_if_any_of_its_addresses_is_inside(inside: str, place: int) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["93.184.215.14", inside] if place else [inside, "93.184.215.14"]

    with pytest.raises(
        EgressRefusedError, match=r"https://hooks\.example\.com is not on the public internet"
    ) as refused:
        await Egress(world=RealWorld(), resolve=resolve).request("POST", "https://hooks.example.com/T0/secret")
    assert "secret" not in str(refused.value)
    assert inside not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://Example.COM", "example.com", "/"),
        ("https://example.com.:443/a?b=c#d", "example.com", "/a?b=c"),
        ("http://example.com:8080/", "example.com:8080", "/"),
        ("http://8.8.8.8/", "8.8.8.8", "/"),
        ("http://[2606:4700::1111]:8080/x", "[2606:4700::1111]:8080", "/x"),
        ("https://b\u00fccher.example/", "xn--bcher-kva.example", "/"),
        ("https://my_service.example:9000/", "my_service.example:9000", "/"),
    ],
)
def test_a_plain_url_is_read(url: str, authority: str, path: str) -> None:
    target = read_target(url)
    assert (target.authority, target.path) == (authority, path)


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("127.0.0.0/8", "http://127.0.0.1:1/"),
        ("127.0.0.1", "http://127.0.0.1:1/"),
        ("127.0.0.0/8", "http://[::ffff:127.0.0.1]:1/"),
        ("::1/128", "http://[::1]:1/"),
        ("Billing.Internal", "http://billing.internal:1/"),
    ],
)
async def test_the_operator_lets_hosts_and_networks_through(allowed: str, url: str) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    # Nothing listens on port 1: that the connection was tried shows that the address was let through.
    with pytest.raises(EgressFailedError, match="took no connection"):
        await Egress([allowed], world=RealWorld(), resolve=resolve).request("GET", url)


@pytest.mark.parametrize("address", ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111"])
def test_an_address_is_as_public_as_the_one_it_carries(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "http://example.com", "*.example.com", "[::1]"])
def test_an_entry_of_the_list_that_cannot_be_read_stops_the_start(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="MAINSPRING_EGRESS_ALLOW"):
        AllowList.read([entry])
