"""What is installed on this machine, as `powerctl init` declares it: by the socket, or by `powerd --installed`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from litestar import get

from powerd.control.schema_store import InstalledModel, InstalledReply
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.gguf_merge import part_name
from powerd.store.lower import HubShelf
from powerd.store.manifest import StoredModel, parameter_size
from powerd.store.store import Store


def handlers(store: Store, models_file: Path) -> list[Any]:
    """The route."""

    @get("/v1/store/installed")
    async def installed() -> InstalledReply:
        return await asyncio.to_thread(installed_reply, store, models_file)

    return [installed]


def installed_reply(store: Store, models_file: Path) -> InstalledReply:
    """Every model that can be served and was not made of models.yaml, by name. Blocking. Raises StoreFailed."""
    named = [_named(model) for model in store.models() if not model.name.is_declared]
    skipped = list(store.problems)
    files = list(_of_hubs(store, skipped))
    models = sorted(named, key=lambda model: (model.model.lower(), model.tag.lower(), model.source.lower()))
    return InstalledReply(str(models_file), [*models, *files], skipped)


def _named(model: StoredModel) -> InstalledModel:
    name = model.name
    return InstalledModel(name.display, name.namespace, name.model, name.tag, model.size, _about(model.header))


def _about(header: Header) -> str:
    return f"{header.architecture} {parameter_size(header.parameter_count)} {header.file_type}"


def _of_hubs(store: Store, skipped: list[str]) -> Iterator[InstalledModel]:
    """The models among the files of Hugging Face caches, each once; what cannot be served is told in `skipped`."""
    seen: set[Path] = set()
    for shelf in store.lower.shelves:
        if not isinstance(shelf, HubShelf):
            continue
        for repository in shelf.repositories():
            for path in sorted(repository.glob("snapshots/*/**/*.gguf")):
                real = path.resolve()
                if real not in seen and (found := _of_file(path, repository, skipped)) is not None:
                    yield found
                seen.add(real)


def _of_file(path: Path, repository: Path, skipped: list[str]) -> InstalledModel | None:
    part = part_name(path.name)
    if part is not None and part.count > 1:
        skipped.append(f"{path} is a part of a split model; `powerctl create` joins the parts")
        return None
    try:
        header = read_header(path)
        header.check_model()
        size = path.stat().st_size
    except (GgufError, OSError) as error:
        skipped.append(f"{path} is left out: {error}")
        return None
    owner = repository.name.removeprefix("models--").partition("--")[0]
    return InstalledModel(str(path), owner, path.stem, "latest", size, _about(header))
