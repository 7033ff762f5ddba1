"""Manifests and what is derived from them (contract sections 2.3 and 2.4; reliability S01, S07, N07)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.digest import Digest
from powerd.store.gguf import read_header
from powerd.store.manifest import (
    CONFIG_TYPE,
    MODEL_TYPE,
    TEMPLATE_TYPE,
    Layer,
    build_manifest,
    describe,
    parameter_size,
    parse_manifest,
)
from tests.store.test_gguf import DEMO

HEX = "ab" * 32
LAYER = {"mediaType": MODEL_TYPE, "digest": f"sha256:{HEX}", "size": 12}
CONFIG = {"mediaType": CONFIG_TYPE, "digest": f"sha256:{'cd' * 32}", "size": 3}


def manifest(**changes: object) -> bytes:
    value = {"schemaVersion": 2, "mediaType": "x", "config": CONFIG, "layers": [LAYER]} | changes
    return json.dumps(value).encode()


def test_a_manifest_is_read_and_unknown_keys_are_ignored() -> None:
    layer = LAYER | {"from": "/root/parent", "name": "n", "urls": ["http://elsewhere"], "annotations": {"a": 1}}
    read = parse_manifest(manifest(layers=[layer], extra={"deep": [1]}))
    assert read.layers == (Layer(MODEL_TYPE, Digest(HEX), 12, "/root/parent"),)
    assert read.config == Layer(CONFIG_TYPE, Digest("cd" * 32), 3)


def test_a_manifest_survives_being_built_and_read() -> None:
    layers = (Layer(MODEL_TYPE, Digest(HEX), 12, "parent"), Layer(TEMPLATE_TYPE, Digest("0" * 64), 0))
    data = build_manifest(Layer(CONFIG_TYPE, Digest("cd" * 32), 3), layers)
    assert parse_manifest(data).layers == layers
    assert data == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
        b'"config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"sha256:' + b"cd" * 32 + b'",'
        b'"size":3},"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:' + b"ab" * 32 + b'",'
        b'"size":12,"from":"parent"},{"mediaType":"application/vnd.ollama.image.template","digest":"sha256:'
        + b"0" * 64
        + b'","size":0}]}\n'
    )


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b"[" * 100_000, "not an object"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b"{}", "layers"),
        (manifest(schemaVersion=1), "schemaVersion"),
        (manifest(layers=None), "layers"),
        (manifest(layers={}), "layers"),
        (manifest(layers=[LAYER] * 4097), "layers"),
        (manifest(layers=["x"]), r"layers\[0\]"),
        (manifest(config=None), r"config\.mediaType"),
        (manifest(layers=[{}]), r"layers\[0\]\.mediaType"),
        (manifest(layers=[LAYER, LAYER | {"mediaType": ""}]), r"layers\[1\]\.mediaType"),
        (manifest(layers=[LAYER | {"mediaType": 1}]), r"layers\[0\]\.mediaType"),
        (manifest(layers=[LAYER | {"from": 1}]), r"layers\[0\]\.from"),
        (b" " * ((4 << 20) + 1), "larger than"),
    ],
)
def test_s07_what_is_no_manifest(data: bytes, field: str) -> None:
    with pytest.raises(ValueError, match=f"^invalid manifest: {field}"):
        parse_manifest(data)


@pytest.mark.parametrize("size", ["-1", str(2**63), '"12"', "1.5", "true", "null", "1e3"])
def test_s07_sizes(size: str) -> None:
    data = manifest().replace(b'"size": 12', b'"size": ' + size.encode())
    with pytest.raises(ValueError, match=r"^invalid manifest: layers\[0\]\.size$"):
        parse_manifest(data)


@pytest.mark.parametrize(
    "digest",
    [
        "../../../../tmp/x",
        "sha256:../../x",
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "a" * 64 + "\n",
        "sha512:" + "a" * 64,
        "sha256:" + "\uff11" * 64,
        "sha256:ab",
        "",
        "x" * 2**20,
        None,
        12,
    ],
)
def test_s01_digests_that_would_leave_the_store(digest: object) -> None:
    for data in (manifest(layers=[LAYER | {"digest": digest}]), manifest(config=CONFIG | {"digest": digest})):
        with pytest.raises(ValueError, match=r"^invalid manifest: (config|layers\[0\])\.digest$"):
            parse_manifest(data)


@given(st.binary(max_size=300) | st.text().map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse_manifest(data)
    except ValueError as error:
        assert str(error).startswith("invalid manifest: ")


KEYS = st.sampled_from(["schemaVersion", "config", "layers", "mediaType", "digest", "size", "from"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    try:
        parse_manifest(json.dumps(value).encode())
    except ValueError as error:
        assert str(error).startswith("invalid manifest: ")


def test_the_demo_is_described_as_ollama_would() -> None:
    assert describe(read_header(DEMO)) == {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": ["llama"],
        "model_type": "2.89M",
        "file_type": "Q8_0",
        "architecture": "amd64",
        "os": "linux",
    }


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (8_030_261_312, "8.0B"),
        (7_000_000_000, "7B"),
        (1_543_714_304, "1.5B"),
        (999_999_999, "1000.00M"),
        (494_032_768, "494.03M"),
        (2_885_888, "2.89M"),
        (595_776, "596K"),
        (999, "999"),
    ],
)
def test_parameter_sizes(count: int, text: str) -> None:
    assert parameter_size(count) == text
