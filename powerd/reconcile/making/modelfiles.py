"""Modelfiles as sources: what FROM names is brought in, and the other lines become layers of what is made of it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from powerd import modelfile
from powerd.catalog.spec import Catalog
from powerd.digest import Digest
from powerd.errors import BadRequest, SourceFailed
from powerd.modelfile import Build, ModelfileError
from powerd.names import Name
from powerd.reconcile.making import creation
from powerd.reconcile.making.creation import CreateRequest
from powerd.reconcile.making.layers import params_of
from powerd.reconcile.making.lora import of_file
from powerd.sources.fetch import identity
from powerd.sources.source import Source, parse
from powerd.store.files import read_small
from powerd.store.manifest import Layer, StoredModel
from powerd.store.store import Store

_MAX_TEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Modelfile that was read: its FROM, understood, and the rest."""

    base: Source
    installed: StoredModel | None  # the model that FROM names, where it is here
    build: Build
    identity: str  # changes with the text, and with what FROM names as far as that is on this machine
    adapter: Path | None = None  # the file that ADAPTER names


def read(source: Source, store: Store) -> Recipe:
    """Read the Modelfile of a source. Blocking. Raises SourceFailed for what cannot be made a declared model of."""
    assert source.path is not None
    shown = source.text
    try:
        data = read_small(source.path, _MAX_TEXT)
        build = modelfile.build(modelfile.parse(modelfile.decode(data)))
    except FileNotFoundError:
        raise SourceFailed(f"{shown}: there is no such file") from None
    except OSError as error:
        raise SourceFailed(f"{shown}: {error.strerror}") from None
    except ModelfileError as error:
        raise SourceFailed(f"{shown}: {error}") from None
    if len(build.sources) != 1:
        raise SourceFailed(f"{shown}: a declared model has one FROM line, and this has {len(build.sources)}")
    if build.draft:
        raise SourceFailed(f"{shown}: DRAFT is not available in a Modelfile that models.yaml names")
    adapter = _adapter(build.adapter, source) if build.adapter else None
    base = _base(build.sources[0], source)
    installed = _installed(base, store)
    looks = installed.digest.hex if installed is not None else identity(base)
    if adapter is not None:
        looks = f"{looks} {identity(adapter)}"
    path = adapter.path if adapter is not None else None
    return Recipe(base, installed, build, f"{hashlib.sha256(data).hexdigest()[:16]} {looks}".rstrip(), path)


def _base(text: str, source: Source) -> Source:
    """What FROM names: a file beside the Modelfile comes before a name, as for Ollama."""
    assert source.path is not None
    directory = source.path.parent
    try:
        beside = not text.startswith(("/", ".", "~")) and (directory / text).is_file()
        base = parse(f"./{text}" if beside else text, directory)
    except (BadRequest, OSError, ValueError) as error:
        raise SourceFailed(f"{source.text}: FROM {text[:100]}: {error}") from None
    if base.kind == "modelfile":
        raise SourceFailed(f"{source.text}: FROM {text} names another Modelfile; name what that one is made of")
    if not base.supported:
        raise SourceFailed(f"{source.text}: FROM {text}: {base.why_not}")
    return base


def _adapter(text: str, source: Source) -> Source:
    """The file that ADAPTER names, relative to the Modelfile."""
    assert source.path is not None
    bare = "://" not in text and not text.startswith(("/", "./", "../", "~"))
    found = parse(f"./{text}" if bare else text, source.path.parent)
    if found.kind != "file":
        raise SourceFailed(f"{source.text}: ADAPTER {text[:100]}: name a LoRA adapter's GGUF file")
    return found


def _installed(base: Source, store: Store) -> StoredModel | None:
    return store.find(Name.parse(base.text)) if base.kind == "registry" else None


def layers(recipe: Recipe, weights: Digest, inherited: tuple[Layer, ...], store: Store) -> tuple[Layer, ...]:
    """The layers of what is made: those of FROM, and the Modelfile's texts in their place. Blocking.

    Raises BadRequest for a template that is none or an adapter that does not fit, NoSpace, StoreFailed.
    """
    fields = recipe.build.fields
    request = CreateRequest(
        name="",
        template=str(fields.get("template", "")),
        system=str(fields.get("system", "")),
        licenses=tuple(_texts(fields.get("license"))),
        messages=tuple((str(one["role"]), str(one["content"])) for one in _mappings(fields.get("messages"))),
    )
    given = fields.get("parameters")
    merged = creation.parameters(params_of(inherited, store), given) if isinstance(given, Mapping) else {}
    made = creation.texts(request, merged)
    gone = creation.replaced(made)
    kept = [layer for layer in inherited if layer.media_type not in gone]
    adapters = [of_file(recipe.adapter, weights, store)] if recipe.adapter is not None else []
    return (*kept, *adapters, *(Layer(kind, *store.put(data)) for kind, data in made))


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def of_installed(stored: StoredModel) -> tuple[Digest, tuple[Layer, ...]]:
    """The weights of a model that is here, and its other layers."""
    rest = tuple(replace(layer, origin=None) for layer in stored.layers if layer.digest != stored.weights_digest)
    return stored.weights_digest, rest


def modelfiles_of(catalog: Catalog, directory: Path) -> list[Path]:
    """The Modelfiles that a catalog's sources name."""
    found = []
    for spec in catalog.models.values():
        with contextlib.suppress(BadRequest, ValueError):
            source = parse(spec.source, directory)
            if source.kind == "modelfile" and source.path is not None:
                found.append(source.path)
    return found
