"""/api/show tells every field of the contract's section 1.8, and nothing it does not know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.rig import DEMO, Rig
from tests.contract.lists import ANSWER_FIELDS

PROJECTOR = Path(__file__).parent.parent / "models" / "tiny-chat-mmproj-f16.gguf"
EVERYTHING = {
    "license": ["One.", "Two."],
    "system": "Be kind.",
    "template": "{{ .System }} {{ .Prompt }}",
    "renderer": "qwen3-coder",
    "parser": "qwen3-coder",
    "requires": "0.14.0",
    "parameters": {"temperature": 0.5, "num_predict": 2_000_000, "stop": ["<a>", "<b>"]},
    "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
}


@pytest.fixture(scope="module")
def seeing(rig: Rig) -> Iterator[str]:
    """A model with everything that create takes, and a projector."""
    files = {}
    for path in (DEMO, PROJECTOR):
        digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
        assert rig.post(f"/api/blobs/{digest}", path.read_bytes()).status_code in {200, 201}
        files[path.name] = digest
    assert rig.lines("/api/create", {"model": "seeing", "files": files, **EVERYTHING})[-1] == {"status": "success"}
    yield "seeing"
    rig.ask("DELETE", "/api/delete", {"model": "seeing"})


def shown(rig: Rig, name: str, **more: Any) -> dict[str, Any]:
    answer = rig.post("/api/show", {"model": name, **more})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_every_field_of_the_contract_is_told_in_its_order(rig: Rig, seeing: str) -> None:
    fields = [name.partition(".")[0] for name in ANSWER_FIELDS["show"] if not name.startswith("remote_")]
    told = shown(rig, seeing)
    assert set(told) == set(fields)
    assert list(told) == [
        *("license", "modelfile", "parameters", "template", "system", "renderer", "parser", "details", "messages"),
        *("model_info", "projector_info", "tensors", "capabilities", "modified_at", "requires"),
    ]


def test_what_was_given_to_create_is_shown(rig: Rig, seeing: str) -> None:
    told = shown(rig, seeing)
    for name in ("system", "template", "renderer", "parser", "requires", "messages"):
        assert told[name] == EVERYTHING[name]
    assert told["license"] == "One.\nTwo."
    assert told["parameters"].splitlines() == [
        f"{'num_predict':<30} 2000000",
        f'{"stop":<30} "<a>"',
        f'{"stop":<30} "<b>"',
        f"{'temperature':<30} 0.5",
    ]


def test_a_projector_is_described_as_the_weights_are(rig: Rig, seeing: str) -> None:
    info = shown(rig, seeing)["projector_info"]
    assert info["general.architecture"] == "clip"
    assert info["general.parameter_count"] > 0
    assert "general.name" not in info
    arrays = [key for key, value in info.items() if value is None]
    assert arrays
    verbose = shown(rig, seeing, verbose=True)["projector_info"]
    assert all(isinstance(verbose[key], list) for key in arrays)


def test_without_a_projector_nothing_is_said_of_one(rig: Rig) -> None:
    assert "projector_info" not in shown(rig, "demo")


def test_the_modelfile_names_every_part(rig: Rig, seeing: str) -> None:
    lines = shown(rig, seeing)["modelfile"].splitlines()
    assert sum(line.startswith("FROM /") for line in lines) == 2
    assert {"RENDERER qwen3-coder", "PARSER qwen3-coder", "PARAMETER stop <a>", "MESSAGE assistant b"} <= set(lines)


def test_the_requests_own_system_and_options_are_laid_over_for_display(rig: Rig, seeing: str) -> None:
    told = shown(rig, seeing, system="Else.", options={"temperature": 1.5}, template="ignored")
    assert told["system"] == "Else."
    assert told["template"] == EVERYTHING["template"]
    assert f"{'temperature':<30} 1.5" in told["parameters"]
