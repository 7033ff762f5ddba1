"""Asking the hub's own library: listing, commit, credentials, and what stands behind a file. Every call blocks.

This, failures.py and guard.py are the only modules that import huggingface_hub, and are imported on first use: it takes
0.3 s and 26 MB. It moves no file here, and its cache is not used.
"""

from __future__ import annotations

import re
from dataclasses import replace

import huggingface_hub
from huggingface_hub import constants

from powerd import __version__
from powerd.digest import Digest
from powerd.errors import BadRequest, SourceFailed
from powerd.sources.hub import guard
from powerd.sources.hub.failures import TIMEOUT, Access, asking, words
from powerd.sources.hub.files import Listed, choose
from powerd.sources.hub.guard import guarded
from powerd.sources.hub.model import HubConfig, HubFile, HubFiles
from powerd.sources.hub.reference import Reference
from powerd.sources.transport.origin import Origin
from powerd.sources.transport.outbound import OutboundConfig

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)

guard.install()


def look_up(reference: Reference, config: HubConfig, outbound: OutboundConfig) -> HubFiles:
    """The files of the model `reference` names, at the commit its revision stands for.

    Raises BadRequest when the choice is not clear, SourceFailed, Interrupted.
    """
    access = _access(config, outbound)
    with asking(access, reference):
        info = _api(access).model_info(
            reference.repo,
            revision=reference.revision or None,
            files_metadata=True,
            timeout=TIMEOUT,
            token=access.token or False,
        )
        listed = [_listed(each.rfilename, each.size, each.lfs) for each in info.siblings or ()]
    commit = str(info.sha)
    if not _COMMIT.fullmatch(commit):
        raise SourceFailed(f"{reference}: the hub names no commit for it")
    choice = choose(listed, reference.quantization, reference.path, str(reference))
    pinned = replace(reference, revision=commit)
    files = tuple(_file(access, pinned, each) for each in choice.weights)
    projector = _file(access, pinned, choice.projector) if choice.projector is not None else None
    return HubFiles(reference.repo, commit, files, projector, choice.quantization, access.origin, token=access.token)


def _access(config: HubConfig, outbound: OutboundConfig) -> Access:
    """The token in `token_file`, or HF_TOKEN, or the one that `hf auth login` left under HF_HOME."""
    endpoint = (config.endpoint or constants.ENDPOINT).rstrip("/")
    try:
        origin = Origin.of(endpoint)
    except BadRequest:
        raise SourceFailed(
            f"the endpoint of the Hugging Face hub, {endpoint!r:.100}, is no http or https URL"
        ) from None
    listed = outbound.host(origin.key)
    ca = listed.ca if listed is not None and listed.ca is not None else outbound.ca
    if config.token_file is not None:
        try:
            token = config.token_file.expanduser().read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceFailed(f"sources.huggingface.token_file {config.token_file} cannot be read: {error}") from None
        token_from = str(config.token_file)
    else:
        with guarded(origin, ca):
            token, token_from = _own_token()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SourceFailed(f"{token_from} holds no token of the Hugging Face hub: one line of letters and digits")
    return Access(endpoint, origin, token, token_from, ca)


def _own_token() -> tuple[str, str]:
    """The library's own search; with a login that is about to expire it asks the hub for a fresh one."""
    token_from = f"HF_TOKEN or {constants.HF_TOKEN_PATH}"
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return "", token_from
    try:
        return huggingface_hub.get_token() or "", token_from
    except OSError:
        return "", token_from
    except Exception as error:
        raise SourceFailed(f"the token for the Hugging Face hub could not be had: {words(str(error))}") from None


def _file(access: Access, pinned: Reference, listed: Listed) -> HubFile:
    """A file of the listing with what its headers add; the answer is the hub's own, before any storage host's.

    This is where a gate shows: the listing of a gated repository is open to all.
    """
    with asking(access, pinned):
        url = huggingface_hub.hf_hub_url(pinned.repo, listed.path, revision=pinned.revision, endpoint=access.endpoint)
        found = huggingface_hub.get_hf_file_metadata(
            url, token=access.token or False, timeout=TIMEOUT, endpoint=access.endpoint
        )
    if found.commit_hash not in (None, pinned.revision):
        raise SourceFailed(f"{pinned}: the hub answered with commit {found.commit_hash!r:.50}")
    size, digest = _size(found.size), _digest(found.etag)
    for ours, theirs in ((listed.size, size), (listed.digest, digest)):
        if ours is not None and theirs is not None and ours != theirs:
            raise SourceFailed(f"{pinned}: the hub lists {listed.path} as {ours} and serves {theirs}")
    return HubFile(url, listed.path, listed.size if size is None else size, listed.digest or digest)


def _api(access: Access) -> huggingface_hub.HfApi:
    return huggingface_hub.HfApi(endpoint=access.endpoint, library_name="powerd", library_version=__version__)


def _listed(path: object, size: object, lfs: object) -> Listed:
    sha256 = getattr(lfs, "sha256", None)
    return Listed(str(path), _size(size), _digest(sha256))


def _size(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 63 else None


def _digest(value: object) -> Digest | None:
    """A large file's etag is its SHA-256; a small one's is of another kind."""
    try:
        return Digest.parse(f"sha256:{value}")
    except ValueError:
        return None
