"""Which addresses callers may have webhooks sent to: what can be known of a URL before anything is looked up."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from mainspring.egress.addresses import is_private_name, is_public
from mainspring.egress.target import read_target
from mainspring.errors import EgressRefusedError

if TYPE_CHECKING:
    from mainspring.egress.addresses import AllowList
    from mainspring.egress.target import Target


def require_webhook_url(url: str, allow: AllowList) -> None:
    """Refuse a URL at which no delivery could ever succeed, so that its caller learns it at once.

    What a name resolves to is looked at when a webhook is sent, and each time anew (`Egress.request`).

    Args:
        url: At most 2,048 characters: `https`, or `http` to a host that the operator allows.
        allow: Hosts and networks that may be reached although they are not public.

    Raises:
        EgressRefusedError: It may not be reached; the message says why, and never repeats the URL.

    Example:
        >>> from mainspring.egress.addresses import AllowList
        >>> require_webhook_url("https://example.com/hooks/7", AllowList.read(()))
    """
    target = read_target(url)
    if _is_allowed(target, allow):
        return
    if target.scheme != "https":
        raise EgressRefusedError(
            f"{target.origin} would be told in the clear: write https, or have the operator add the host to "
            "MAINSPRING_EGRESS_ALLOW"
        )
    address = _address(target)
    if is_private_name(target.host) if address is None else not is_public(address):
        raise EgressRefusedError(
            f"{target.origin} is not on the public internet, and so may not be reached from here; if it should be, the "
            "operator adds its host or its network to MAINSPRING_EGRESS_ALLOW"
        )
    if not target.has_usual_port:
        raise EgressRefusedError(f"port {target.port} of {target.host} may not be reached: use 443, or 1024 up")


def _is_allowed(target: Target, allow: AllowList) -> bool:
    address = _address(target)
    return allow.has_host(target.host) or (address is not None and allow.has_address(address))


def _address(target: Target) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(target.host)
    except ValueError:
        return None
