"""Which addresses are never fetched from, whoever asks: those where clouds hand out a machine's credentials."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from powerd.errors import SourceFailed

#: The metadata service of EC2 over IPv6; its IPv4 address and those of the other clouds are link-local.
_METADATA = ipaddress.ip_address("fd00:ec2::254")


def check_address(address: str, shown: str) -> None:
    """Raise SourceFailed for a link-local or metadata address. Private and loopback ones are the owner's own choice."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    if (mapped or ip).is_link_local or ip == _METADATA:
        raise SourceFailed(f"{shown}: {address} is a link-local or metadata address; nothing is fetched from there")


async def check_host(host: str, port: int, shown: str) -> None:
    """Resolve `host` and check every address it has. What does not resolve here is left to the connection, or proxy."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for _, _, _, _, address in found:
        check_address(str(address[0]), shown)
