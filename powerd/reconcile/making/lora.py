"""LoRA files: whether one fits the weights it is named for, and how it comes into the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from powerd.digest import Digest
from powerd.errors import BadRequest
from powerd.reconcile.making.layers import adapter_layer
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.manifest import Layer
from powerd.store.store import Store

#: What the identity of a source says of its adapters begins with this.
MARK = " lora:"


def without(identity: str) -> str:
    """An identity without what it says of adapters."""
    return identity.partition(MARK)[0]


def check(shown: str, adapter: Header, weights: Header) -> None:
    """Raise BadRequest unless a LoRA adapter was made for weights of this shape; `shown` names it in the message."""
    if adapter.kind != "adapter" or adapter.metadata.get("adapter.type") != "lora":
        raise BadRequest(f"{shown} is no LoRA adapter, but a {adapter.kind}", "adapters")
    if adapter.architecture != weights.architecture:
        raise BadRequest(
            f"{shown} is an adapter for {adapter.architecture}, not for {weights.architecture} models", "adapters"
        )
    if "adapter.alora.invocation_tokens" in adapter.metadata:
        raise BadRequest(f"{shown} is an activated LoRA (aLoRA), which powerd does not apply", "adapters")
    theirs = {tensor.name: tensor.shape for tensor in adapter.tensors}
    ours = {tensor.name: tensor.shape for tensor in weights.tensors}
    for name in theirs:
        base, _, part = name.rpartition(".")
        if part in {"lora_a", "lora_b"} and not _fits(ours.get(base), theirs, base):
            raise BadRequest(
                f"{shown} does not fit these weights: {base} has other dimensions or is not there", "adapters"
            )


def _fits(weight: tuple[int, ...] | None, parts: Mapping[str, tuple[int, ...]], base: str) -> bool:
    """Whether both parts are there, with one rank, and multiply to the weight; of embeddings they come transposed."""
    a, b = parts.get(f"{base}.lora_a", ()), parts.get(f"{base}.lora_b", ())
    if weight is None or min(len(weight), len(a), len(b)) < 2:
        return False
    if base == "token_embd.weight":
        return (b[1], a[1]) == weight[:2] and a[0] == b[0]
    return (a[0], b[1]) == weight[:2] and a[1] == b[0]


def of_file(path: Path, weights: Digest, store: Store) -> Layer:
    """Take an adapter in a file into the store. Blocking. Raises BadRequest, StoreFailed, NoSpace."""
    model = store.blob(weights)
    try:
        if model is not None:
            check(path.name, read_header(path), read_header(model))
    except GgufError as error:
        raise BadRequest(f"{path.name}: {error}", "adapters") from None
    except OSError as error:
        raise BadRequest(f"{path.name}: {error.strerror}", "adapters") from None
    return adapter_layer(store, store.take(path))
