"""Addresses that a webhook may reach: those of the internet, unless private ones are allowed.

A name is resolved once, its addresses are checked, and the connection is made to a checked address. A name server that
answers differently the second time (DNS rebinding) changes nothing.
"""

import ipaddress
import socket

from ml.errors import DeliveryFailed

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, each once, in the order of the resolver.

    Raises:
        DeliveryFailed: the name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no name of a host"
        raise DeliveryFailed(f"The name {host!r} cannot be resolved: {reason}.") from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def require_public(host: str, addresses: list[str]) -> list[str]:
    """Return the addresses that are of the internet.

    Raises:
        DeliveryFailed: there are none.
    """
    public = [each for each in addresses if is_public(each)]
    if not public:
        raise DeliveryFailed(
            f"The name {host!r} has the address {addresses[0]}, which is of a private network or this computer; it is "
            "used only with allow_private."
        )
    return public


def is_public(address: str) -> bool:
    """Return whether an address is of the internet, and not of a private network, this computer or a group.

    Example:
        >>> [is_public(each) for each in ("8.8.8.8", "127.0.0.1", "::ffff:10.0.0.1", "169.254.169.254", "0.0.0.0")]
        [True, False, False, False, False]
    """
    found = _embedded(ipaddress.ip_address(address.partition("%")[0]))
    if isinstance(found, ipaddress.IPv6Address) and found.is_site_local:
        return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def _embedded(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that an IPv6 address leads to; the address itself if there is none."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)
