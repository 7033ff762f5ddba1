"""Which addresses are connected to.

Never those where clouds hand out a machine's credentials, and private ones only for those who may name them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from powerd.errors import Forbidden

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Metadata services that are not link-local: EC2 over IPv6, Alibaba, Oracle.
_METADATA = {ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")}
_METADATA_NAMES = {"metadata.google.internal", "metadata"}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def check_address(address: str, shown: str, *, private: bool = True) -> None:
    """Raise Forbidden for a link-local or metadata address, and for one that is not public unless `private`."""
    try:
        ip = _meant(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return
    if ip.is_link_local or ip in _METADATA:
        raise Forbidden(
            f"host not allowed: {address} of {shown} is a link-local or metadata address; nothing is fetched from there"
        )
    if not private and not ip.is_global:
        raise Forbidden(
            f"host not allowed: {shown} is at a private or loopback address, which only callers on this machine may "
            "name; list the host under `registries:` in powerd.yaml to allow it to others"
        )


def _meant(ip: _Address) -> _Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


async def check_host(host: str, port: int, shown: str, *, private: bool = True) -> None:
    """Resolve `host` and check every address it has. What does not resolve here is left to the connection, or proxy."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        check_address("127.0.0.1", shown, private=private)
    if name in _METADATA_NAMES:
        raise Forbidden(f"host not allowed: {shown} is a metadata service; nothing is fetched from there")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for _, _, _, _, address in found:
        check_address(str(address[0]), shown, private=private)
