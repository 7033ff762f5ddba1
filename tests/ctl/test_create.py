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
        ("FROM w.gguf\nDRAFT ./w.gguf", "DRAFT must not reference the same local path as FROM: ./w.gguf"),
        ("FROM w.gguf\nDRAFT llama3", "DRAFT llama3: there is no such file"),
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


def test_a_bad_name_is_said_before_anything_is_sent(daemon: ScriptedDaemon, here: Path, capsys: Captured) -> None:
    assert main(["create", "a b", "-f", modelfile(here, "FROM w.gguf")]) == 1
    assert main(["create", "x", "-f", modelfile(here, "FROM w.gguf"), "--draft-quantize", "Q4_0"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Error: invalid model name: a b",
        "Error: --draft-quantize requires a DRAFT model",
    ]
    assert daemon.asked == []


def test_the_daemons_refusal_and_an_early_end_fail(daemon: ScriptedDaemon, here: Path, capsys: Captured) -> None:
    file = modelfile(here, "FROM x")
    daemon.script["POST /api/create"] = document({"error": "unknown type"}, 400)
    assert main(["create", "x", "-f", file]) == 1
    daemon.script["POST /api/create"] = ndjson({"status": "writing manifest"}, {"error": "no space"})
    assert main(["create", "x", "-f", file]) == 1
    daemon.script["POST /api/create"] = ndjson({"status": "writing manifest"})
    assert main(["create", "x", "-f", file]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Error: unknown type",
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


def test_pickles_and_pointers_are_refused_here(here: Path) -> None:
    (here / "model.pth").write_bytes(b"x")
    with pytest.raises(Failed, match="unsupported model format: serialised Python objects"):
        parts("model.pth", here)
    (here / "named.bin").write_bytes(b"GGUF")
    assert [part.name for part in parts("named.bin", here)] == ["named.bin"]
    (here / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid")
    with pytest.raises(Failed, match="is a Git LFS pointer"):
        parts("model.safetensors", here)


def directory(at: Path, *names: str) -> Path:
    for name in names:
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")
    return at


def test_what_is_picked_of_a_directory_in_ollamas_order(tmp_path: Path) -> None:
    order = (
        *("x.bin", "x.gguf", "consolidated.00.pth", "pytorch_model.bin", "adapter_model.safetensors"),
        *("consolidated.safetensors", "2_Dense/model.safetensors", "model-1.safetensors"),
    )
    found = []
    for name in order:
        directory(tmp_path, name)
        try:
            found.append(parts(".", tmp_path)[0].name)
        except Failed as failure:
            found.append(failure.message.removeprefix(f"{tmp_path}/").partition(":")[0])
    assert found[:-2] == list(order[:-2])
    assert [part.name for part in parts(".", tmp_path)] == ["2_Dense/model.safetensors", "model-1.safetensors"]


def test_a_checkpoint_brings_what_its_conversion_reads(tmp_path: Path) -> None:
    directory(
        tmp_path,
        *("model.safetensors", "config.json", "tokenizer.model", "chat_template.jinja", "1_Pooling/config.json"),
        *("README.md", "pytorch_model.bin", ".cache/x.json", "a/b/deep.json", "other.safetensors", "1_Pooling/x.txt"),
    )
    beside = ["1_Pooling/config.json", "chat_template.jinja", "config.json", "tokenizer.model"]
    assert [part.name for part in parts(".", tmp_path)] == ["model.safetensors", *beside]
    assert [part.name for part in parts("./other.safetensors", tmp_path)] == ["other.safetensors", *beside]
    outside = directory(tmp_path.parent, "outside.json") / "outside.json"
    (tmp_path / "generation_config.json").symlink_to(outside)
    with pytest.raises(Failed, match=r"insecure path: generation_config\.json"):
        parts(".", tmp_path)


def test_one_part_of_a_checkpoint_brings_the_others(tmp_path: Path) -> None:
    directory(tmp_path, "m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors")
    for number in (1, 2):
        assert len(parts(f"m-0000{number}-of-00002.safetensors", tmp_path)) == 2


def test_a_directory_of_safetensors_a_draft_and_an_adapter_are_sent(daemon: ScriptedDaemon, here: Path) -> None:
    daemon.script["POST /api/create"] = DONE
    directory(here / "tuned", "model.safetensors", "config.json")
    directory(here / "lora", "adapter_model.safetensors", "adapter_config.json")
    same = digest(b"{}")
    for each in (same, digest(b"weights")):
        daemon.script[f"HEAD /api/blobs/{each}"] = Reply()
    file = modelfile(here, "FROM tuned\nADAPTER ./lora\nDRAFT ./w.gguf\n")
    assert main(["create", "mine", "-f", file, "--draft-quantize", "Q4_0"]) == 0
    assert daemon.asked[-1][1] == {
        "model": "mine",
        "files": {"model.safetensors": same, "config.json": same},
        "adapters": {"adapter_model.safetensors": same, "adapter_config.json": same},
        "draft_files": {"w.gguf": digest(b"weights")},
        "draft_quantize": "Q4_0",
    }
