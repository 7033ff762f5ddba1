from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest

from powerd.ctl.exits import Failed
from powerd.ctl.main import main
from powerd.ctl.parts import parts
from tests.ctl.scripted_daemon import Reply, ScriptedDaemon, document, ndjson

Captured = pytest.CaptureFixture[str]
DONE = ndjson({"status": "writing manifest"}, {"status": "success"})


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    directory = tmp_path / "models"
    directory.mkdir()
    for name, data in (("w.gguf", b"weights"), ("lora.gguf", b"lora"), ("mm.gguf", b"mm")):
        (directory / name).write_bytes(data)
    return directory


def modelfile(directory: Path, text: str) -> str:
    path = directory / "Modelfile"
    path.write_text(text)
    return str(path)


def test_the_request_is_what_ollamas_client_would_send(daemon: ScriptedDaemon, here: Path, capsys: Captured) -> None:
    daemon.script["POST /api/create"] = DONE
    text = "FROM llama3.2\nSYSTEM Hi.\nPARAMETER stop <a>\nPARAMETER mirostat 1\nLICENSE MIT\nMESSAGE user x\n"
    assert main(["create", "mine", "-f", modelfile(here, text), "-q", "Q4_K_M"]) == 0
    assert daemon.asked == [
        (
            "POST /api/create",
            {
                "model": "mine",
                "from": "llama3.2",
                "quantize": "Q4_K_M",
                "system": "Hi.",
                "parameters": {"stop": ["<a>"]},
                "license": ["MIT"],
                "messages": [{"role": "user", "content": "x"}],
            },
        )
    ]
    out, err = capsys.readouterr()
    assert out.splitlines() == ["gathering model components", "writing manifest", "success"]
    assert err == "warning: parameter mirostat is deprecated\n"


def test_files_are_hashed_and_sent_when_they_are_not_there(
    daemon: ScriptedDaemon, here: Path, capsys: Captured
) -> None:
    weights, lora, projector = (digest(data) for data in (b"weights", b"lora", b"mm"))
    daemon.script["POST /api/create"] = DONE
    daemon.script[f"HEAD /api/blobs/{weights}"] = Reply()
    for missing in (lora, projector):
        daemon.script[f"POST /api/blobs/{missing}"] = Reply(201, read=False)
    file = modelfile(here, f"FROM w.gguf\nFROM ./mm.gguf\nFROM w.gguf\nADAPTER {here / 'lora.gguf'}\n")
    assert main(["create", "mine", "-f", file]) == 0
    asked = [key for key, _ in daemon.asked]
    assert f"POST /api/blobs/{weights}" not in asked
    assert f"POST /api/blobs/{lora}" in asked
    assert daemon.asked[-1][1] == {
        "model": "mine",
        "files": {"w.gguf": weights, "mm.gguf": projector},
        "adapters": {"lora.gguf": lora},
    }
    assert "hashing mm.gguf: 100% 2 B" in capsys.readouterr().out


def test_standard_input_and_json(daemon: ScriptedDaemon, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.script["POST /api/create"] = DONE
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("FROM x".encode("utf-16"))))
    assert main(["create", "mine", "-f", "-", "--json"]) == 0
    assert [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()] == [
        "gathering model components",
        "writing manifest",
        "success",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SYSTEM x", "Modelfile: no FROM line"),
        ("FROM x\nPARAMETER num_ctx many", "Modelfile: (line 2): num_ctx: invalid int value [many]"),
        ("FROM ./none.gguf", "./none.gguf: there is no such file or directory below "),
        ("FROM none.gguf", "none.gguf: there is no such file or directory below "),
        ("FROM x\nADAPTER none", "ADAPTER none: there is no such file"),
        ("FROM w.gguf\nDRAFT w.gguf", "DRAFT must not reference the same local path as FROM: w.gguf"),
        ("FROM ~nobody-of-that-name/x", "home directory"),
        ("FROM \0x", "no FROM line"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(
    daemon: ScriptedDaemon, here: Path, capsys: Captured, text: str, told: str
) -> None:
    text = text if "\0" not in text else "# nothing"
    assert main(["create", "mine", "-f", modelfile(here, text)]) == 1
    assert told in capsys.readouterr().err
    assert daemon.asked == []


def test_the_daemons_refusal_and_an_early_end_fail(daemon: ScriptedDaemon, here: Path, capsys: Captured) -> None:
    file = modelfile(here, "FROM x")
    daemon.script["POST /api/create"] = document({"error": "invalid model name"}, 400)
    assert main(["create", "a b", "-f", file]) == 1
    daemon.script["POST /api/create"] = ndjson({"status": "writing manifest"}, {"error": "no space"})
    assert main(["create", "x", "-f", file]) == 1
    daemon.script["POST /api/create"] = ndjson({"status": "writing manifest"})
    assert main(["create", "x", "-f", file]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Error: invalid model name",
        "Error: no space",
        "Error: powerd ended early (its last word was 'writing manifest'); create the model again",
    ]


# ---------------------------------------------------------------- which files are meant


def test_a_name_is_not_a_path(here: Path) -> None:
    assert parts("llama3.2:3b", here) == []
    assert parts("hf.co/org/repo:Q4_K_M", here) == []


def test_the_first_part_brings_the_others(here: Path) -> None:
    for number in (1, 2):
        (here / f"big-0000{number}-of-00002.gguf").write_bytes(b"x")
    assert [part.name for part in parts("./big-00001-of-00002.gguf", here)] == [
        "big-00001-of-00002.gguf",
        "big-00002-of-00002.gguf",
    ]
    (here / "big-00002-of-00002.gguf").unlink()
    with pytest.raises(Failed, match=r"big-00002-of-00002\.gguf is missing beside it"):
        parts("./big-00001-of-00002.gguf", here)


def test_a_directory_stands_for_its_ggufs(here: Path, tmp_path: Path) -> None:
    assert [part.name for part in parts(".", here)] == ["lora.gguf", "mm.gguf", "w.gguf"]
    with pytest.raises(Failed, match="no Modelfile or safetensors files found"):
        parts("./models/..", tmp_path)
    (tmp_path / "outside.gguf").write_bytes(b"x")
    (here / "link.gguf").symlink_to(tmp_path / "outside.gguf")
    with pytest.raises(Failed, match=r"insecure path: link\.gguf"):
        parts(".", here)
    (here / "link.gguf").unlink()
    (here / "link.gguf").symlink_to("w.gguf")
    assert len(parts(".", here)) == 4


def test_safetensors_and_pickles_are_refused_here(here: Path) -> None:
    (here / "model.safetensors").write_bytes(b"x")
    (here / "config.json").write_text('{"architectures": ["Gemma3ForCausalLM"]}')
    with pytest.raises(Failed, match=r"\(Gemma3ForCausalLM\) is not available yet"):
        parts(".", here)
    (here / "model.pth").write_bytes(b"x")
    with pytest.raises(Failed, match="unsupported model format"):
        parts("model.pth", here)
