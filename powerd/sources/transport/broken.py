"""What a broken connection means: most are worth another try, a wrong name or certificate is not."""

from __future__ import annotations

import socket
import ssl

import httpx

from powerd.errors import SourceFailed


class Interrupted(Exception):
    """This try failed in a way that another may not, `wait` seconds later (None: as patience says).

    `stalled`: nothing arrived for too long. Ends as SourceFailed in Outbound.patiently or in a transfer.
    """

    def __init__(self, reason: str, wait: float | None = None, *, stalled: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.stalled = stalled


def meaning(
    error: httpx.TransportError | httpx.InvalidURL, shown: str, connect: float, stall: float
) -> Interrupted | SourceFailed:
    """The failure to raise for it; `shown` is where we were going, the seconds are those that were waited."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return SourceFailed(f"{shown}: the server's certificate is not trusted: {cause.verify_message}")
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
            return SourceFailed(f"{shown}: there is no such host")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return SourceFailed(f"{shown}: {error}")
    if isinstance(error, httpx.ConnectTimeout):
        return Interrupted(f"no connection within {connect:g} s")
    if isinstance(error, httpx.ReadTimeout):
        return Interrupted(f"no bytes for {stall:g} s", stalled=True)
    if isinstance(error, httpx.TimeoutException):
        return Interrupted(f"no bytes taken for {stall:g} s", stalled=True)
    return Interrupted(str(error) or type(error).__name__)
