"""What the hub's refusals and the library's exceptions mean for the person who reads them, and what to do about it."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from powerd.errors import PowerError, SourceFailed
from powerd.sources.hub.guard import guarded
from powerd.sources.hub.reference import Reference
from powerd.sources.transport.answer import busy, phrase
from powerd.sources.transport.broken import Interrupted
from powerd.sources.transport.origin import Origin

#: Seconds without a byte.
TIMEOUT = 15.0
_LONGEST_WORDS = 200  # characters of the hub's own words that a message repeats


@dataclass(frozen=True, slots=True)
class Access:
    """One endpoint, and who we are there. `token` is empty for anonymous access."""

    endpoint: str  # https://huggingface.co, without a slash at the end
    origin: Origin
    token: str
    token_from: str  # where the token came from, for messages
    ca: Path | None  # a file of CAs trusted besides the system's


@contextlib.contextmanager
def asking(access: Access, reference: Reference) -> Iterator[None]:
    """Guard the calls within, and turn whatever they raise into SourceFailed about `reference`, or Interrupted."""
    try:
        with guarded(access.origin, access.ca):
            yield
    except SourceFailed as error:
        raise SourceFailed(f"{reference}: {error.message}") from None
    except (PowerError, Interrupted):
        raise
    except Exception as error:
        raise _explain(error, access, reference) from None


def words(text: str) -> str:
    """The library's or the hub's words on one line, cut."""
    line = " ".join(text.split())
    return "".join(letter for letter in line if letter.isprintable())[:_LONGEST_WORDS]


def _explain(error: Exception, access: Access, reference: Reference) -> SourceFailed | Interrupted:
    shown = str(reference)
    if isinstance(error, OfflineModeIsEnabled):
        return SourceFailed(f"{shown}: HF_HUB_OFFLINE is set: the Hugging Face hub is not asked")
    if isinstance(error, HfHubHTTPError):
        return _refused(error, access, reference)
    if isinstance(error, httpx2.TimeoutException):
        return Interrupted(f"the hub did not answer within {TIMEOUT:g} s")
    if isinstance(error, httpx2.HTTPError):
        distrust = _distrust(error)
        if distrust:
            return SourceFailed(f"{shown}: the certificate of the hub at {access.endpoint} is not trusted: {distrust}")
        return Interrupted(f"the hub at {access.endpoint} cannot be reached: {words(str(error))}")
    return SourceFailed(f"{shown}: the hub's answer cannot be understood ({type(error).__name__})")


def _distrust(error: BaseException | None) -> str:
    """Why a certificate was not accepted, if that is what stopped the connection."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return ""


def _refused(error: HfHubHTTPError, access: Access, reference: Reference) -> SourceFailed | Interrupted:
    shown, status = str(reference), error.response.status_code
    if isinstance(error, GatedRepoError):
        return SourceFailed(f"hf.co/{reference.repo} is gated: {_ask(access, reference)}")
    if isinstance(error, RevisionNotFoundError):
        return SourceFailed(
            f"{shown}: hf.co/{reference.repo} has no such revision: it never had, or its history was rewritten since; "
            "name another one, or none for the default branch"
        )
    if isinstance(error, RemoteEntryNotFoundError):
        return SourceFailed(f"{shown}: the hub lists a file that it does not serve")
    if isinstance(error, DisabledRepoError):
        return SourceFailed(f"{shown}: the repository was disabled by its owner or by the hub")
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return SourceFailed(f"{shown}: {_absent(error, access)}")
    if status == 403:
        return SourceFailed(f"{shown}: the hub forbids it (403). If the repository is gated, {_ask(access, reference)}")
    again = busy(status, error.response.headers, time.time())
    if again is not None:
        return Interrupted(again.reason, again.wait)
    return SourceFailed(f"{shown}: {phrase(status)}: {words(error.server_message or '')}".removesuffix(": "))


def _ask(access: Access, reference: Reference) -> str:
    page = f"{access.endpoint}/{reference.repo}"
    if access.token:
        return (
            f"the account of the token from {access.token_from} has no access; ask for it or accept the terms at "
            f"{page}, and let the token read gated repositories"
        )
    return (
        f"accept its terms at {page}, make a token of that account at {access.endpoint}/settings/tokens, and give it "
        "to powerd as HF_TOKEN or in the file that sources.huggingface.token_file names"
    )


def _absent(error: HfHubHTTPError, access: Access) -> str:
    if error.response.status_code == 401 and access.token:
        return f"the hub does not accept the token from {access.token_from}: it is wrong, expired or not for this"
    if access.token:
        return "there is no such repository, or the token may not see it: check the name"
    return (
        "there is no such repository, or it is private: check the name; a private one needs a token, as HF_TOKEN or in "
        "the file that sources.huggingface.token_file names"
    )
