"""A spec as JSON, without the secrets of its source."""

from __future__ import annotations

import json

import pytest

from powerd.catalog.show import redacted, spec_to_dict
from tests.catalog.reading import catalog, entry, model


def test_a_plain_spec_shows_what_decides_how_it_runs() -> None:
    assert spec_to_dict(model("")) == {
        "state": "available",
        "source": "x",
        "context": "auto",
        "parallel": "auto",
        "gpu_layers": "auto",
        "kv_cache": "auto",
        "keep_alive": None,
        "priority": 0,
        "overflow": "dialect",
        "aliases": [],
    }


def test_everything_that_is_set_is_shown() -> None:
    spec = model(
        "context: 8192\nkeep_alive: always\naliases: [gpt-4o, a/b:c]\ngpu_layers: all\nthink: false\nsystem: hi\n"
        "template: hi\nrequire: {gpu: true}\nparameters: {stop: [a], seed: 1}\nquantization: Q8_0\n"
        "placement: {devices: [CUDA0, CUDA1], split: [2, 1], main: CUDA1}\nthreads: 4\nbatch: 1024\nload_mode: mlock\n"
        "flash_attention: false\npooling: cls\nrequest_options: reject\nclass: batch\n"
        f"digest: sha256:{'0' * 64}\nmessages: [{{role: user, content: x}}]\n"
        "adapters: [{source: 'https://h/a?key=secret'}]\ndraft: {source: 'https://me:secret@h/d'}"
    )
    shown = spec_to_dict(spec)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert "secret" not in json.dumps(shown)
    assert (
        shown
        | {
            "context": 8192,
            "keep_alive": "always",
            "aliases": ["gpt-4o", "a/b:c"],
            "gpu_layers": "all",
            "think": False,
            "system": "hi",
            "template": "jinja",
            "require": {"gpu": True},
            "parameters": {"stop": ["a"], "seed": 1},
            "quantization": "Q8_0",
            "digest": f"sha256:{'0' * 64}",
            "placement": {"devices": ["CUDA0", "CUDA1"], "split": [2.0, 1.0], "main": "CUDA1"},
            "threads": 4,
            "batch": 1024,
            "load_mode": "mlock",
            "flash_attention": False,
            "pooling": "cls",
            "request_options": "reject",
            "class": "batch",
            "messages": [{"role": "user", "content": "x"}],
            "adapters": [{"source": "https://h/a", "scale": 1.0}],
            "draft": {"source": "https://h/d"},
        }
        == shown
    )


def test_a_duration_is_shown_in_seconds() -> None:
    assert spec_to_dict(model("keep_alive: 5m"))["keep_alive"] == 300.0


def test_a_tombstone_can_be_shown() -> None:
    text = entry("state: absent")
    assert spec_to_dict(catalog(text).models["m"])["state"] == "absent"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("llama3.2:1b", "llama3.2:1b"),
        ("hf.co/a/b:Q4_K_M", "hf.co/a/b:Q4_K_M"),
        ("builtin:demo", "builtin:demo"),
        ("https://host:8080/a/b.gguf", "https://host:8080/a/b.gguf"),
        ("https://user:pw@host/a.gguf?token=1#x", "https://host/a.gguf"),
        ("https://user:p@w@host/a.gguf", "https://host/a.gguf"),
        ("https://host/@scope/a.gguf", "https://host/@scope/a.gguf"),
        ("user:pw@registry.example/a/b", "registry.example/a/b"),
        ("https://host/a.gguf?\ntoken=1", "https://host/a.gguf"),
        ("/srv/what?/a@b#1.gguf", "/srv/what?/a@b#1.gguf"),
    ],
)
def test_a_source_is_shown_without_its_secrets(source: str, shown: str) -> None:
    assert redacted(source) == shown
