"""From which address a request comes, when proxies stand in between (`MAINSPRING_TRUSTED_PROXIES`)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address, IPv6Address


class TrustedProxies:
    """The proxies whose word about the address of a client is believed.

    Args:
        proxies: Addresses and CIDR ranges.

    Example:
        >>> TrustedProxies(["10.0.0.0/8"]).client_of("10.0.0.2", ["203.0.113.9, 10.0.0.1"])
        '203.0.113.9'
    """

    def __init__(self, proxies: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(text, strict=False) for text in proxies]

    def client_of(self, peer: str | None, forwarded_for: Sequence[str]) -> str | None:
        """Return the address of the client: the last one in the chain that is not a trusted proxy.

        Whatever stands before it was written by somebody whom nobody vouches for.

        Args:
            peer: Who has connected.
            forwarded_for: The headers `X-Forwarded-For`, in their order: each proxy adds whom it was connected by.
        """
        hops = [hop for header in forwarded_for for hop in header.split(",")]
        client = peer
        while hops and self._trusts(client):
            claimed = _address(hops.pop())
            if claimed is None:
                break
            client = str(claimed)
        return client

    def _trusts(self, text: str | None) -> bool:
        address = _address(text or "")
        return address is not None and any(
            address.version == network.version and address in network for network in self._networks
        )


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address as proxies write it: with a port or in brackets, too."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
