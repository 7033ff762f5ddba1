"""Pull: which files of which commit of a hub's repository a source means, and bringing them into the store.

The hub's library lists and authenticates (client.py, in a thread), files.py chooses, and the one transfer module moves
the bytes from the `/resolve/COMMIT/` address, whose signed redirects it asks for afresh whenever it resumes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from powerd.digest import Digest
from powerd.errors import Forbidden, NoSpace, SourceFailed
from powerd.quantities import show_bytes
from powerd.sources.hub.files import normal_label
from powerd.sources.hub.model import HubConfig, HubFile, HubFiles
from powerd.sources.hub.reference import Reference, parse
from powerd.sources.transport.outbound import Outbound, OutboundConfig
from powerd.sources.transport.transfer import OnProgress, download
from powerd.store.gguf import GgufError, read_header
from powerd.store.store import Store


@dataclass(frozen=True, slots=True)
class HubBlobs:
    """The same files in the store."""

    weights: tuple[Digest, ...]
    projector: Digest | None


async def resolve(
    source: Reference | str,
    outbound: Outbound,
    config: HubConfig,
    *,
    quantization: str = "",
    revision: str = "",
) -> HubFiles:
    """Find the files a source means, at one commit: `revision` if given, else what the source says.

    What the source names (a file, a `:QUANT`) chooses; only where it names neither does `quantization`, which is
    otherwise what to make of the chosen file. Raises BadRequest when the choice is not clear, SourceFailed when the hub
    cannot or will not serve it, Forbidden when offline.
    """
    reference = parse(source) if isinstance(source, str) else source
    reference = replace(
        reference,
        revision=revision or reference.revision,
        quantization=reference.quantization or ("" if reference.path else normal_label(quantization)),
    )
    if outbound.config.offline:
        raise Forbidden(f"{reference} is remote and powerd.yaml says `offline: true`")
    return await outbound.patiently(
        str(reference), lambda: asyncio.to_thread(_look_up, reference, config, outbound.config)
    )


def _look_up(reference: Reference, config: HubConfig, outbound: OutboundConfig) -> HubFiles:
    from powerd.sources.hub import client  # noqa: PLC0415  # takes 0.3 s and 26 MB, and most daemons never ask the hub

    return client.look_up(reference, config, outbound)


# ---------------------------------------------------------------- the bytes


async def bring(
    files: HubFiles,
    store: Store,
    outbound: Outbound,
    on_progress: OnProgress = lambda _completed, _total: None,
    expect: Digest | None = None,
) -> HubBlobs:
    """Bring the files into the store, verified, those that are missing; `expect` is the digest the weights must have.

    `on_progress` hears bytes of all files together. Weights in one file are checked to be a model before they become a
    blob. Raises SourceFailed, Forbidden, NoSpace, StoreFailed.
    """
    every = files.files if files.projector is None else (*files.files, files.projector)
    known = {file.digest for file in files.files} - {None}
    if expect is not None and known and expect not in known:
        said = ", ".join(f'"{digest}"' for digest in known)
        raise SourceFailed(f'hf.co/{files.repo}: digest mismatch, expected "{expect}", the hub offers {said}')
    with store.lease(file.digest for file in every if file.digest is not None):
        await asyncio.to_thread(_check_room, store, files.repo, every)
        progress = _Progress(on_progress, sum(file.size or 0 for file in every))
        digests = [await _bring(files, file, store, outbound, progress) for file in every]
    weights = tuple(digests[: len(files.files)])
    if expect is not None and expect not in weights:
        raise SourceFailed(f'hf.co/{files.repo}: digest mismatch, expected "{expect}", got "{weights[0]}"')
    return HubBlobs(weights, None if files.projector is None else digests[-1])


async def _bring(files: HubFiles, file: HubFile, store: Store, outbound: Outbound, progress: _Progress) -> Digest:
    if file.digest is not None and await asyncio.to_thread(store.intact, file.digest):
        progress.end(file)
        return file.digest
    alone = len(files.files) == 1 and file is files.files[0]
    digest = await download(
        store,
        outbound,
        files.location(file, outbound),
        digest=file.digest,
        size=file.size,
        on_progress=lambda here, _total: progress.tell(here),
        check=_check_model if alone else None,
        gguf=True,
    )
    progress.end(file)
    return digest


class _Progress:
    """The bytes of several files told as those of one."""

    def __init__(self, on_progress: OnProgress, total: int) -> None:
        self._on_progress = on_progress
        self._total = total
        self._before = 0

    def tell(self, here: int) -> None:
        self._on_progress(self._before + here, self._total)

    def end(self, file: HubFile) -> None:
        self._before += file.size or 0
        self._on_progress(self._before, self._total)


def _check_room(store: Store, repo: str, files: tuple[HubFile, ...]) -> None:
    """Raise NoSpace before the first byte when all that is missing will not fit."""
    missing = [file for file in files if file.digest is None or not store.intact(file.digest)]
    begun = sum(store.begun(file.digest) for file in missing if file.digest is not None)
    needed, free = sum(file.size or 0 for file in missing) - begun, store.free()
    if needed > free:
        raise NoSpace(f"need {show_bytes(needed)} in {store.root} for hf.co/{repo}, have {show_bytes(free)}")


def _check_model(path: Path) -> None:
    try:
        read_header(path).check_model()
    except GgufError as error:
        raise SourceFailed(str(error)) from None
