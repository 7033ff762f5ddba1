"""Adapters: whether one fits the weights, which runner loads which, and what each name applies."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from powerd.catalog.spec import Adapter
from powerd.errors import BadRequest, SourceFailed
from powerd.protocol import Deployment, Shape
from powerd.reconcile.making.adapters import chosen, looks, shared
from powerd.reconcile.making.lora import check, without
from powerd.store.gguf import Header, read_header

ROOT = Path(__file__).parents[3]
LORA = read_header(ROOT / "tests" / "models" / "tiny-chat-pirate-lora-f16.gguf")
MODEL = read_header(ROOT / "powerd" / "demo" / "tiny-chat-q8_0.gguf")
PLAIN = Deployment("/w", "a" * 64, 512, 1, Shape(1, 1, 1, 1, 1, 1))


def with_(header: Header, **changes: Any) -> Header:
    fields = {name: getattr(header, name) for name in header.__slots__}
    return Header(**(fields | changes))


def test_the_demos_own_adapter_fits_it() -> None:
    check("pirate", LORA, MODEL)


@pytest.mark.parametrize(
    ("adapter", "model", "why"),
    [
        (MODEL, MODEL, "x is no LoRA adapter, but a model"),
        (LORA, with_(MODEL, metadata={**MODEL.metadata, "general.architecture": "qwen3"}), "for llama, not for qwen3"),
        (LORA, with_(MODEL, tensors=MODEL.tensors[:3]), "does not fit these weights"),
        (with_(LORA, tensors=LORA.tensors[1:]), MODEL, "does not fit these weights"),
        (with_(LORA, metadata={**LORA.metadata, "adapter.alora.invocation_tokens": 1}), MODEL, "activated LoRA"),
    ],
)
def test_g18_an_adapter_for_something_else_is_refused(adapter: Header, model: Header, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        check("x", adapter, model)


def test_runners_load_the_adapters_of_all_names_with_their_weights() -> None:
    one, two = ("1" * 64, "/1", 10), ("2" * 64, "/2", 20)
    other = msgspec.structs.replace(PLAIN, weights_digest="b" * 64)
    given = [PLAIN, msgspec.structs.replace(PLAIN, adapters=(two,)), msgspec.structs.replace(PLAIN, adapters=(one,))]
    made = shared([*given, other])
    assert [each.adapters for each in made] == [(one, two)] * 3 + [()]
    assert len({each.key for each in made}) == 2
    assert PLAIN.key not in {each.key for each in made}


def stored(*digests: str) -> Any:
    class Layer:
        def __init__(self, digest: str) -> None:
            self.digest = type("Digest", (), {"hex": digest})

    return type("Stored", (), {"adapters": [(Layer(digest), Path("/")) for digest in digests]})


def test_scales_are_each_names_own_and_those_of_one_file_add_up() -> None:
    spec = cast(Any, type("Spec", (), {"adapters": (Adapter("x", 0.5), Adapter("y", 0.0), Adapter("x", 0.25))}))
    assert chosen(stored("a", "b", "a"), spec) == (("a", 0.75),)
    assert chosen(stored("b", "a")) == (("a", 1.0), ("b", 1.0))


def test_the_look_of_a_source_changes_with_its_adapters_and_survives_their_loss(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(b"1")
    named = (Adapter(str(file)),)
    first = looks(named, tmp_path, "")
    assert without(f"base{first}") == "base"
    assert looks((), tmp_path, "") == ""
    file.write_bytes(b"22")
    assert looks(named, tmp_path, "") != first
    file.unlink()
    assert looks(named, tmp_path, f"base{first}") == first
    with pytest.raises(SourceFailed, match="there is no such file"):
        looks((Adapter(str(tmp_path / "b.gguf")),), tmp_path, f"base{first}")
