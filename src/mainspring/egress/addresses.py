"""Which addresses are public, and which others the operator allows (`MAINSPRING_EGRESS_ALLOW`)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Final

from mainspring.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# The registries of IANA (RFC 6890 and its updates), written out: `is_global` differs between patches of Python.
_IPV4_NOT_PUBLIC: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # the host's own service on Azure, in spite of its public look
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_IPV6_PUBLIC: Final = IPv6Network("2000::/3")
_IPV6_NOT_PUBLIC: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, benchmarking, ORCHID: protocol assignments
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries any IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_LAST_32_BITS: Final = 0xFFFF_FFFF
_PRIVATE_SUFFIXES: Final = (".internal", ".local", ".localhost", ".lan", ".home.arpa", ".intranet", ".corp", ".home")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet.

    An address that carries an IPv4 address (IPv4-mapped, NAT64) is as public as the one it carries.

    Example:
        >>> is_public(ipaddress.ip_address("8.8.8.8")), is_public(ipaddress.ip_address("::ffff:10.0.0.1"))
        (True, False)
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _IPV4_NOT_PUBLIC)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & _LAST_32_BITS))
    return address in _IPV6_PUBLIC and not any(address in network for network in _IPV6_NOT_PUBLIC)


def is_private_name(host: str) -> bool:
    """Whether a name is one that only a private network resolves.

    Example:
        >>> is_private_name("metadata.google.internal")
        True
    """
    return host == "localhost" or host.endswith(_PRIVATE_SUFFIXES)


@dataclass(frozen=True, slots=True)
class AllowList:
    """What the operator lets tenants reach although it is not public.

    Attributes:
        hosts: Names, in lower case.
        networks: Addresses and ranges of addresses.
    """

    hosts: frozenset[str]
    networks: tuple[Network, ...]

    @classmethod
    def read(cls, entries: Iterable[str]) -> AllowList:
        """Return the list of these hosts, addresses and CIDR ranges.

        Raises:
            ConfigurationError: An entry is none of them.

        Example:
            >>> AllowList.read(["billing.internal", "10.1.0.0/16"]).has_host("billing.internal")
            True
        """
        hosts: set[str] = set()
        networks: list[Network] = []
        for entry in entries:
            network = _network(entry)
            if network is not None:
                networks.append(network)
            elif "/" in entry or ":" in entry or "*" in entry:
                raise ConfigurationError(
                    f"MAINSPRING_EGRESS_ALLOW: {entry!r} is neither a host name nor an address nor a range; write "
                    "for instance `billing.internal,10.1.0.0/16`"
                )
            else:
                hosts.add(entry.lower().removesuffix("."))
        return cls(frozenset(hosts), tuple(networks))

    def has_host(self, host: str) -> bool:
        """Whether all addresses of this name are allowed."""
        return host in self.hosts

    def has_address(self, address: Address) -> bool:
        """Whether this address is allowed; one that is IPv4-mapped counts as the address it carries."""
        carried = getattr(address, "ipv4_mapped", None) or address
        return any(carried in network for network in self.networks)


NOTHING_PRIVATE: Final = AllowList(frozenset(), ())
"""The list of an operator who allows nothing beyond the public internet."""


def _network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None
