"""Converting over a real store: the real helper and the real engine."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import llama_cpp
import pytest

from powerd.digest import Digest
from powerd.errors import BadRequest
from powerd.reconcile.making.converting import convert, convert_adapter
from powerd.store.gguf import read_header
from powerd.store.store import Store
from tests import gguf_maker
from tests.convert import checkpoints
from tests.gguf_maker import DEMO


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "demo"
    checkpoints.demo(folder)
    checkpoints.pirate(folder.parent / "lora")
    return folder


def taken(store: Store, folder: Path) -> dict[str, Digest]:
    return {name: store.take(Path(path)) for name, path in checkpoints.files(folder).items()}


def nothing_left(store: Store, files: dict[str, Digest]) -> bool:
    blobs = {path.name for path in (store.root / "blobs").iterdir()}
    return not list((store.root / ".powerd/ingest").iterdir()) and len(blobs) == len(set(files.values()))


def answer(path: Path, lora: Path | None = None) -> str:
    llama = llama_cpp.Llama(str(path), n_ctx=256, verbose=False, lora_path=str(lora) if lora else None)
    try:
        prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
        made = llama.create_completion(prompt, max_tokens=24, temperature=0.0, stop=["<|im_end|>"])
        return str(made["choices"][0]["text"])
    finally:
        llama.close()


@pytest.mark.model
def test_a_converted_model_answers_as_the_original_does(store: Store, checkpoint: Path) -> None:
    steps: list[tuple[int, int]] = []
    files = taken(store, checkpoint)
    digest = asyncio.run(convert(files, store, lambda done, total: steps.append((done, total))))
    path = store.blob(digest)
    assert path is not None
    header = read_header(path)
    header.check_model()
    assert (header.architecture, header.file_type) == ("llama", "F16")
    assert steps[0][0] == 0
    assert steps[-1][0] == steps[-1][1] == sum(tensor.size for tensor in header.tensors)
    assert steps == sorted(steps)
    assert answer(path) == answer(DEMO) != ""


@pytest.mark.model
def test_a_converted_adapter_changes_the_answer(store: Store, checkpoint: Path) -> None:
    digest = asyncio.run(convert_adapter(taken(store, checkpoint.parent / "lora"), DEMO, store, lambda *_: None))
    path = store.blob(digest)
    assert path is not None
    assert answer(DEMO, path) == answer(DEMO, checkpoints.PIRATE) != answer(DEMO)


def test_the_same_files_give_the_same_bytes(store: Store, checkpoint: Path) -> None:
    files = taken(store, checkpoint)
    first, second = (asyncio.run(convert(files, store, lambda *_: None)) for _ in range(2))
    assert first == second


def test_what_the_helper_refuses_is_told(store: Store, checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(checkpoint, folder)
    (folder / "config.json").write_text(json.dumps(checkpoints.config(architectures=["OddForCausalLM"])))
    files = taken(store, folder)
    with pytest.raises(BadRequest, match=r"conversion failed: config.json: the architecture OddForCausalLM is not one"):
        asyncio.run(convert(files, store, lambda *_: None))
    assert nothing_left(store, files)


def test_an_adapter_is_held_to_its_model(store: Store, checkpoint: Path, tmp_path: Path) -> None:
    files = taken(store, checkpoint.parent / "lora")
    short, narrow = (gguf_maker.tiny(tmp_path / f"{layers}.gguf", layers=layers) for layers in (2, 4))
    for base, message in (
        (short, "layers.2.*is not one that"),
        (narrow, "not for this model: blk.0.* is 64 x 64 there"),
    ):
        with pytest.raises(BadRequest, match=message):
            asyncio.run(convert_adapter(files, base, store, lambda *_: None))
    (tmp_path / "no.gguf").write_bytes(b"GGUF")
    for path, message in ((tmp_path / "no.gguf", "is not sound"), (tmp_path / "missing", "cannot be read")):
        with pytest.raises(BadRequest, match=f"the adapter's model {message}"):
            asyncio.run(convert_adapter(files, path, store, lambda *_: None))
    assert nothing_left(store, files)


def test_a_blob_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(BadRequest, match=r"config.json: the blob sha256.* is not in the store"):
        asyncio.run(convert({"config.json": Digest("a" * 64)}, store, lambda *_: None))
