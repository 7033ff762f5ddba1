"""Creating models through the real daemon: the official client and powerctl, real quantization, hostile files."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import ollama
import psutil
import pytest

from tests import gguf_maker
from tests.convert import checkpoints
from tests.store.crafted import Crafted, pair, tensor
from tests.wire.powerd_process import Powerd

DEMO = "models:\n  demo: {source: 'builtin:demo', aliases: [gpt-4o]}\n"
LORA = Path(__file__).parent.parent / "models" / "tiny-chat-pirate-lora-f16.gguf"
PROJECTOR = LORA.with_name("tiny-chat-mmproj-f16.gguf")


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    with Powerd(tmp_path_factory.mktemp("create"), models=DEMO, config="offline: true\n") as running:
        running.wait("Fits", "demo")
        yield running


@pytest.fixture(scope="module")
def client(powerd: Powerd) -> Iterator[ollama.Client]:
    with ollama.Client(host=powerd.url) as client:
        yield client


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An F16 model."""
    return gguf_maker.full(tmp_path_factory.mktemp("full") / "full.gguf")[0]


def statuses(progress: Iterator[ollama.ProgressResponse]) -> list[str]:
    """Each status once, layers by their word alone."""
    texts = [step.status or "" for step in progress]
    short = [text.partition(" sha256:")[0] for text in texts]
    return [text for index, text in enumerate(short) if index == 0 or short[index - 1] != text]


def blobs(powerd: Powerd) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (powerd.directory / "state/models/blobs").iterdir()}


def test_create_from_a_model_with_system_template_and_parameters(client: ollama.Client) -> None:
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    progress = client.create(
        "mine:v1",
        from_="demo",
        system="You are Anna.",
        template=template,
        license=["Be kind.", "Share."],
        parameters={"temperature": 0.0, "stop": ["<user>"], "num_ctx": 512},
        messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
        stream=True,
    )
    assert statuses(progress) == ["using existing layer", "creating new layer", "writing manifest", "success"]
    shown = client.show("mine:v1")
    assert (shown.template, shown.license) == (template, "Be kind.\nShare.")
    assert shown.parameters is not None
    assert shown.parameters.split() == ["num_ctx", "512", "stop", '"<user>"', "temperature", "0"]
    assert shown.details is not None
    assert shown.details.parent_model == "demo:latest"
    assert shown.modelfile is not None
    assert "SYSTEM You are Anna.\n" in shown.modelfile
    assert "MESSAGE assistant hello\n" in shown.modelfile
    answer = client.generate("mine:v1", "What is 2 + 3?", options={"num_predict": 4})
    assert answer.eval_count
    copied = client.create("mine:v2", from_="mine:v1", system="You are Bob.", license="Third.")
    assert copied.status == "success"
    again = client.show("mine:v2")
    assert again.license == "Be kind.\nShare.\nThird."
    assert again.template == template
    client.copy("mine:v2", "kept")
    client.delete("mine:v2")
    assert {"mine:v1", "kept:latest"} <= {model.model for model in client.list().models}


def test_create_from_an_uploaded_gguf_and_quantize_it(client: ollama.Client, powerd: Powerd, full: Path) -> None:
    digest = client.create_blob(full)
    assert client.create_blob(full) == digest
    made = statuses(client.create("half", files={"full.gguf": digest}, stream=True))
    assert made == ["parsing GGUF", "validating GGUF model", "using existing layer", "writing manifest", "success"]
    assert client.show("half").details.quantization_level == "F16"  # type: ignore[union-attr]  # it has details
    steps = list(client.create("small", from_="half", quantize="q4_k_m", stream=True))
    moving = [step for step in steps if step.status == "quantizing F16 model to Q4_K_M"]
    assert moving[0].completed is not None
    assert moving[0].completed < moving[-1].completed == moving[-1].total  # type: ignore[operator]  # bytes
    assert {step.digest for step in moving} == {"0000000000000000000"}
    rest = [step.status or "" for step in steps[-4:]]
    assert [text.partition(" sha256:")[0] for text in rest] == [
        "verifying conversion",
        "creating new layer",
        "writing manifest",
        "success",
    ]
    shown = client.show("small")
    assert shown.details is not None
    assert shown.details.quantization_level == "Q4_K_M"
    assert shown.details.parameter_size == client.show("half").details.parameter_size  # type: ignore[union-attr]
    assert client.generate("small", "Tell", options={"num_predict": 4, "temperature": 0}).eval_count == 4
    assert not list((powerd.directory / "state/models/.powerd/ingest").glob("*"))


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        ({"model": "a b", "from": "demo"}, 400, "invalid model name"),
        ({"model": "powerd.local/declared/x", "from": "demo"}, 400, "invalid model name"),
        ({"model": "x"}, 400, "neither 'from' or 'files' was specified"),
        ({"model": "x", "modelfile": "FROM /etc/passwd", "path": "/etc"}, 400, "neither 'from' or 'files'"),
        ({"model": "demo", "from": "demo"}, 409, "models.yaml"),
        ({"model": "gpt-4o", "from": "demo"}, 409, "models.yaml"),
        ({"model": "x", "from": "demo", "quantize": "Q4_K_M"}, 400, "only supported for F16, BF16 and F32 models"),
        ({"model": "x", "from": "demo", "quantize": "q9"}, 400, "unsupported quantization type q9 - supported types"),
        ({"model": "x", "from": "demo", "quantize": "IQ1_S"}, 400, "importance matrix"),
        ({"model": "x", "from": "demo", "parameters": {"temperature": "hot"}}, 400, '"temperature" must be of type'),
        ({"model": "x", "from": "demo", "template": "{{ .Prompt"}, 400, "template error: {{ of line 1"),
        ({"model": "x", "from": "demo", "requires": "soon"}, 400, "requires must be a valid semver (e.g. 0.14.0)"),
        ({"model": "x", "from": "demo", "draft_files": {"d": "sha256:0"}}, 400, "invalid digest format"),
    ],
)
def test_refusals_are_statuses_when_nothing_was_sent(
    powerd: Powerd, request_: dict[str, Any], status: int, text: str
) -> None:
    for stream in (True, False):
        answer = powerd.post("/api/create", {**request_, "stream": stream})
        if answer.status_code == 200:
            assert text in json.loads(answer.text.splitlines()[-1])["error"]
        else:
            assert (answer.status_code, text in answer.json()["error"]) == (status, True), answer.text
    assert "x:latest" not in powerd.get("/api/tags").text


def test_s37_a_model_whose_tensors_leave_the_file_is_never_quantized(client: ollama.Client, tmp_path: Path) -> None:
    shapes = {"beyond": ((512, 2), 0, 0), "huge": ((2**31, 2**31), 0, 0), "late": ((8,), 0, 2**40)}
    for name, (shape, kind, offset) in shapes.items():
        crafted = Crafted(tensors=[tensor("a.weight", shape, kind, offset)], data=b"CANARY..")
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(crafted.bytes())
        digest = client.create_blob(path)
        with pytest.raises(ollama.ResponseError) as failure:
            client.create(f"bad-{name}", files={path.name: digest}, quantize="Q8_0")
        assert failure.value.status_code == 400
        assert "CANARY" not in failure.value.error


def test_a_model_that_claims_f16_and_is_not_is_refused_before_the_engine(client: ollama.Client, tmp_path: Path) -> None:
    crafted = Crafted(tensors=[tensor("a.weight", (32,), 8, 0)], data=bytes(64))
    crafted.pairs["general.file_type"] = pair("general.file_type", 4, 1)
    path = tmp_path / "liar.gguf"
    path.write_bytes(crafted.bytes())
    with pytest.raises(ollama.ResponseError, match="only supported for F16"):
        client.create("liar", files={path.name: client.create_blob(path)}, quantize="Q8_0")


def test_cancelling_a_quantization_kills_the_helper_and_leaves_nothing(powerd: Powerd, tmp_path: Path) -> None:
    """The helper is stopped, so that the cancel finds it at work however fast the machine is."""
    path = gguf_maker.full(tmp_path / "slow.gguf", seed=7)[0]
    with ollama.Client(host=powerd.url) as client:
        client.create("slow", files={path.name: client.create_blob(path)})
    before = blobs(powerd)
    connection = powerd.connection()
    body = json.dumps({"model": "never", "from": "slow", "quantize": "IQ3_S"}).encode()
    connection.request("POST", "/api/create", body, {"Content-Type": "application/json"})
    helper = _helper(powerd)
    helper.suspend()
    connection.close()
    helper.wait(20)
    deadline = time.monotonic() + 10
    while list((powerd.directory / "state/models/.powerd/ingest").glob("*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not list((powerd.directory / "state/models/.powerd/ingest").glob("*"))
    assert blobs(powerd) == before
    assert "never:latest" not in powerd.get("/api/tags").text


def _helper(powerd: Powerd) -> psutil.Process:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for child in psutil.Process(powerd.pid).children():
            if "powerd.quantize" in child.cmdline():
                return child
        time.sleep(0.005)
    raise AssertionError("no helper was started")


def test_powerctl_create_uploads_a_split_model_with_its_projector(powerd: Powerd, tmp_path: Path) -> None:
    parts = gguf_maker.full(tmp_path / "big.gguf", part_tensors=8)
    (tmp_path / "Modelfile").write_text(f"FROM ./{parts[0].name}\nFROM {PROJECTOR}\nSYSTEM Hi.\nPARAMETER seed 1\n")
    made = powerd.powerctl("create", "joined", "-f", str(tmp_path / "Modelfile"), "-q", "Q8_0")
    assert made.returncode == 0, made.stderr
    assert "merging split GGUF: 100%" in made.stdout
    assert made.stdout.splitlines()[-1] == "success"
    shown = powerd.post("/api/show", {"model": "joined"}).json()
    assert (shown["details"]["quantization_level"], shown["system"]) == ("Q8_0", "Hi.")
    assert shown["modelfile"].count("\nFROM ") == 2
    again = powerd.powerctl("create", "joined", "-f", str(tmp_path / "Modelfile"), "--json")
    assert not [line for line in again.stdout.splitlines() if "uploading" in line]


def test_powerctl_create_reads_what_show_prints(powerd: Powerd, tmp_path: Path) -> None:
    draft = gguf_maker.tiny(tmp_path / "draft.gguf")
    (tmp_path / "first").write_text(
        f'FROM demo\nADAPTER {LORA}\nDRAFT {draft}\nSYSTEM """a "b"\nc"""\nRENDERER qwen3-coder\nMESSAGE user hi\n'
    )
    first = powerd.powerctl("create", "first", "-f", str(tmp_path / "first"))
    assert first.returncode == 0, first.stderr
    assert "warning: renderer 'qwen3-coder' is not built into powerd" in first.stdout
    assert "warning: the draft model is kept and not used" in first.stdout
    modelfile = powerd.powerctl("show", "first", "--modelfile").stdout
    assert "RENDERER qwen3-coder\n" in modelfile
    assert modelfile.count("\nDRAFT ") == 1
    second = powerd.powerctl("create", "second", "-f", "-", stdin=modelfile)
    assert second.returncode == 0, second.stderr
    texts = [powerd.powerctl("show", name, "--modelfile").stdout for name in ("first", "second")]
    assert texts[0].replace("# FROM first", "# FROM second") == texts[1]


def answer(powerd: Powerd, model: str, prompt: str) -> str:
    options = {"temperature": 0, "num_predict": 24}
    body = {"model": model, "prompt": prompt, "stream": False, "options": options}
    return str(powerd.post("/api/generate", body).json()["response"])


def test_a_checkpoint_answers_as_the_model_it_is_of(powerd: Powerd, client: ollama.Client, tmp_path: Path) -> None:
    checkpoints.demo(tmp_path / "tuned")
    (tmp_path / "Modelfile").write_text("FROM ./tuned\nPARAMETER num_ctx 512\n")
    made = powerd.powerctl("create", "tuned", "-f", str(tmp_path / "Modelfile"))
    assert made.returncode == 0, made.stderr
    assert "converting model: 100%" in made.stdout
    files = {path.name: client.create_blob(path) for path in (tmp_path / "tuned").iterdir()}
    assert client.create("tuned-q8", files=files, quantize="q8_0", parameters={"num_ctx": 512}).status == "success"
    details = [client.show(name).details for name in ("tuned", "tuned-q8")]
    assert [each.quantization_level for each in details if each] == ["F16", "Q8_0"]
    wanted = answer(powerd, "demo", "What is 2 + 3?")
    assert "5" in wanted
    assert [answer(powerd, name, "What is 2 + 3?") for name in ("tuned", "tuned-q8")] == [wanted, wanted]


def test_an_adapter_of_safetensors_does_what_its_gguf_does(powerd: Powerd, tmp_path: Path) -> None:
    checkpoints.pirate(tmp_path)
    for name, path in (("pirate", LORA), ("converted", tmp_path)):
        (tmp_path / "Modelfile").write_text(f"FROM demo\nADAPTER {path}\n")
        made = powerd.powerctl("create", name, "-f", str(tmp_path / "Modelfile"))
        assert made.returncode == 0, made.stderr
    told = [answer(powerd, name, "Tell me about the sea.") for name in ("demo", "pirate", "converted")]
    assert told[0] != told[1] == told[2]


def test_powerctl_create_says_what_is_wrong_with_the_modelfile(powerd: Powerd, tmp_path: Path) -> None:
    file = tmp_path / "Modelfile"
    for text, told in (
        ("FROM demo\nTEMPRATURE 1\n", "(line 2): command must be one of"),
        ("FROM ./gone.gguf\n", "./gone.gguf: there is no such file or directory"),
        ("FROM nowhere-to-be-found\n", "offline"),
        ("FROM demo\nDRAFT ./d.gguf\n", "./d.gguf: there is no such file or directory"),
    ):
        file.write_text(text)
        made = powerd.powerctl("create", "bad", "-f", str(file))
        assert made.returncode == 1
        assert told in made.stderr
    made = powerd.powerctl("create", "bad", "-f", str(tmp_path / "none"))
    assert (made.returncode, "specified Modelfile wasn't found" in made.stderr) == (1, True)


def test_n09_uploads_at_once_wrong_short_and_long(powerd: Powerd) -> None:
    data = b"n09" * 500_000
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    answers: list[int] = []

    def send() -> None:
        answers.append(httpx.post(f"{powerd.url}/api/blobs/{digest}", content=data, timeout=60).status_code)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 201 in answers
    assert set(answers) <= {200, 201}
    before = blobs(powerd)
    for wrong in (b"", data[:-1], data + b"x", data[::-1]):
        other = "sha256:" + hashlib.sha256(wrong + b"?").hexdigest()
        answer = powerd.post(f"/api/blobs/{other}", wrong)
        true = "sha256:" + hashlib.sha256(wrong).hexdigest()
        assert answer.status_code == 400
        assert answer.json() == {"error": f'digest mismatch, expected "{other}", got "{true}"'}
    assert blobs(powerd) == before


def test_an_upload_that_breaks_off_leaves_nothing(powerd: Powerd) -> None:
    before = blobs(powerd)
    connection = powerd.connection()
    connection.putrequest("POST", "/api/blobs/sha256:" + "a" * 64)
    connection.putheader("Content-Length", "5000000")
    connection.endheaders(b"x" * 3_000_000)
    deadline = time.monotonic() + 10
    while not list((powerd.directory / "state/models/.powerd/ingest").glob("*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    connection.close()
    while list((powerd.directory / "state/models/.powerd/ingest").glob("*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not list((powerd.directory / "state/models/.powerd/ingest").glob("*"))
    assert blobs(powerd) == before


def test_h08_h09_a_body_that_can_never_fit_is_refused_before_it_is_sent(powerd: Powerd) -> None:
    host, _, port = powerd.url.removeprefix("http://").rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=20)
    connection.putrequest("POST", "/api/blobs/sha256:" + "b" * 64)
    connection.putheader("Content-Length", str(10**15))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert "need " in json.loads(answer.read())["error"]
    connection.close()


def test_uploads_and_downloads_are_streamed(powerd: Powerd) -> None:
    """64 MiB in and out cost the daemon less than half of that in memory."""
    data = bytes(range(256)) * (1 << 18)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    process = psutil.Process(powerd.pid)
    before = process.memory_info().rss
    most = before
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert httpx.post(f"{powerd.url}/api/blobs/{digest}", content=data, timeout=60).status_code == 201
    with httpx.stream("GET", f"{powerd.url}/api/blobs/{digest}", timeout=60) as answer:
        checksum = hashlib.sha256()
        for piece in answer.iter_raw(1 << 20):
            checksum.update(piece)
    done.set()
    watcher.join()
    assert f"sha256:{checksum.hexdigest()}" == digest
    assert most - before < len(data) // 2
    assert httpx.delete(f"{powerd.url}/api/blobs/{digest}").status_code == 200
    assert httpx.head(f"{powerd.url}/api/blobs/{digest}").status_code == 404
