"""The verb import: what other programs' files come to, read back as powerd reads it."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from powerd.catalog.fields import FIELDS
from powerd.catalog.parse import parse_files
from powerd.catalog.spec import Catalog, ModelSpec
from powerd.ctl.foreign import bounds
from powerd.ctl.main import main
from powerd.options import SAMPLING_OPTIONS
from powerd.protocol import Placement

Capture = pytest.CaptureFixture[str]


def read(written: str) -> Catalog:
    return parse_files({"/etc/power/models.yaml": written}, file="/etc/power/models.yaml", read_file=Path.read_text)


def imported(capsys: Capture, *arguments: str) -> tuple[dict[str, ModelSpec], str]:
    """The models, and the comments."""
    assert main(["import", *arguments]) == 0
    written = capsys.readouterr().out
    comments = "\n".join(line.strip() for line in written.splitlines() if line.strip().startswith("#"))
    return dict(read(written).models), comments


def one(capsys: Capture, *arguments: str) -> tuple[ModelSpec, str]:
    models, comments = imported(capsys, *arguments)
    (spec,) = models.values()
    return spec, comments


# ---------------------------------------------------------------- a command line


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        ("-c 8192", "context", 8192),
        ("-c 8192 -np 4", "context", 2048),
        ("-c 8192 --parallel 4 -kvu", "context", 8192),
        ("-c 0", "context", None),
        ("-np 4", "parallel", 4),
        ("-np -1", "parallel", None),
        ("-ngl 999", "gpu_layers", "all"),
        ("--n-gpu-layers 12", "gpu_layers", 12),
        ("--gpu-layers auto", "gpu_layers", None),
        ("-dev none", "gpu_layers", 0),
        ("-t 6", "threads", 6),
        ("-b 2048 -ub 256", "batch", 256),
        ("-b 2048", "batch", 2048),
        ("-fa", "flash_attention", True),
        ("-fa off", "flash_attention", False),
        ("-fa auto", "flash_attention", None),
        ("--pooling last", "pooling", "last"),
        ("-ctk q8_0 -ctv q8_0", "kv_cache", "q8_0"),
        ("--no-mmap", "load_mode", "read"),
        ("--mlock --mmap", "load_mode", "mlock"),
        ("-lm mmap+mlock", "load_mode", "mlock"),
        ("-dev CUDA0,CUDA1 -ts 3,1 -mg 1", "placement", Placement(("CUDA0", "CUDA1"), (3.0, 1.0), "layer", "CUDA1")),
        ("-sm row", "placement", Placement(mode="row")),
        ("--context-shift", "overflow", "shift"),
        ("--reasoning-budget 0", "think", False),
        ("-rea on", "think", True),
        ("--reasoning-effort high", "think", "high"),
        ("--chat-template-kwargs '{\"enable_thinking\": false}'", "think", False),
        ("--chat-template '{% if x %}{{ messages }}{% endif %}'", "template", None),
        ("--temp 0.7 --top-k -1 -n 64 -r END -r STOP", "parameters", None),
    ],
)
def test_a_flag_becomes_a_field(capsys: Capture, flags: str, field: str, value: Any) -> None:
    spec, comments = one(capsys, f"/opt/llama-server -m /srv/qwen.gguf {flags}")
    assert (spec.display, spec.source) == ("qwen", "/srv/qwen.gguf")
    if field == "parameters":
        value = {"temperature": 0.7, "top_k": -1, "num_predict": 64, "stop": ("END", "STOP")}
    found = getattr(spec, field)
    assert (found.text == "{% if x %}{{ messages }}{% endif %}") if field == "template" else found == value
    assert "not carried over" not in comments or "--batch-size says" in comments or "-b 2048" in comments


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--host 0.0.0.0", "--host 0.0.0.0 (the address is `listen` in powerd.yaml)"),
        ("--mmproj /srv/p.gguf", "--mmproj /srv/p.gguf (images are not available yet)"),
        ("-md /srv/d.gguf", "-md /srv/d.gguf (draft models are not available yet)"),
        ("-ctk q8_0 -ctv q4_0", "-ctk q8_0 (kv_cache is one of"),
        ("-ts 3,1", "-ts 3,1 (placement.split in numbers needs"),
        ("-mg 1", "-mg 1 (placement.main is"),
        ("-c many", "-c many (that is no number)"),
        ("--rope-scale 4", "--rope-scale 4 (models.yaml has no field for it)"),
        ("--chat-template chatml", "--chat-template chatml (llama.cpp's own"),
        ("--chat-template-kwargs '{\"a\": 1}'", "--chat-template-kwargs a=1 (templates"),
        ("--pooling rank", "--pooling rank (a text's vector is"),
        ("-lm dio", "-lm dio (load_mode has nothing like it)"),
        ("stray", "stray (it belongs to no flag)"),
        ("-a 'b ad'", "-a b ad (a model cannot be called this)"),
    ],
)
def test_what_cannot_be_carried_over_is_named(capsys: Capture, flags: str, said: str) -> None:
    _, comments = one(capsys, f"llama-server -m /srv/qwen.gguf {flags}")
    assert f"# not carried over: {said}" in comments


@pytest.mark.parametrize(
    "flags",
    ["--temp -0.7", "--temp nan", "--top-p 2", "-np 1000", "-t 100000", "-b 1000000", "-c 9999999999", "--mirostat 3"],
)
def test_a_number_models_yaml_would_refuse_is_left_out(capsys: Capture, flags: str) -> None:
    spec, comments = one(capsys, f"llama-server -m /srv/qwen.gguf {flags}")
    assert "it must be from" in comments
    assert not spec.parameters


def test_the_bounds_are_those_of_the_options() -> None:
    for name, (low, high) in bounds.PARAMETERS.items():
        option = SAMPLING_OPTIONS[name]
        assert (option.low, option.high) == (low, high), name
    for name, (low, high) in bounds.FIELDS.items():
        schema = FIELDS[name].read
        assert schema is not None
        assert schema.schema["anyOf"][1] == {"type": "integer", "minimum": low, "maximum": high}, name


def test_a_key_is_never_repeated(capsys: Capture) -> None:
    assert "sekret" not in one(capsys, "llama-server -m /srv/q.gguf --api-key sekret --hf-token sekret")[1]


@pytest.mark.parametrize(
    ("flags", "name", "source"),
    [
        ("-hf org/Repo-GGUF:Q8_0", "Repo-GGUF", "hf.co/org/Repo-GGUF:Q8_0"),
        ("-hf org/repo -hff a/b.gguf", "b", "hf://org/repo/a/b.gguf"),
        ("-mu https://example.com/x.gguf", "x", "https://example.com/x.gguf"),
        ("-m /a.gguf -a one,two", "one", "/a.gguf"),
    ],
)
def test_weights_are_found_where_they_were(capsys: Capture, flags: str, name: str, source: str) -> None:
    spec, _ = one(capsys, f"llama-server {flags}")
    assert (spec.display, spec.source) == (name, source)
    assert [alias.display for alias in spec.aliases] == (["two:latest"] if "two" in flags else [])


def test_adapters_keep_their_scale(capsys: Capture) -> None:
    written = "llama-server -m /a.gguf --lora /l.gguf --lora-scaled /m.gguf:0.5"
    spec, _ = one(capsys, written)
    assert [(one.source, one.scale) for one in spec.adapters] == [("/l.gguf", 1.0), ("/m.gguf", 0.5)]


def test_a_script_with_the_command_on_several_lines(tmp_path: Path, capsys: Capture) -> None:
    script = tmp_path / "start.sh"
    script.write_text("#!/bin/sh\nexec llama-server \\\n  -m models/a.gguf \\\n  -c 512\n")
    spec, _ = one(capsys, str(script))
    assert (spec.source, spec.context) == (str(tmp_path / "models/a.gguf"), 512)


# ---------------------------------------------------------------- a preset

PRESET = """\
version = 1
[*]
n-gpu-layers = 99
c = 4096
jinja = true
LLAMA_ARG_THREADS = 4

[ggml-org/gemma-3-1b-it-GGUF:Q8_0]
load-on-startup = true
ctx-size = 8192

; a comment
[coder]
m = coder.gguf
mmproj = p.gguf
mmap = 0
stop-timeout = 10
"""


def test_a_preset_gives_a_model_for_each_section(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "models.ini"
    file.write_text(PRESET)
    models, comments = imported(capsys, str(file))
    gemma, coder = models["ggml-org-gemma-3-1b-it-GGUF:Q8_0"], models["coder"]
    assert (gemma.source, gemma.state) == ("hf.co/ggml-org/gemma-3-1b-it-GGUF:Q8_0", "loaded")
    assert (gemma.context, gemma.gpu_layers, gemma.threads) == (8192, "all", 4)
    assert [alias.display for alias in gemma.aliases] == ["ggml-org/gemma-3-1b-it-GGUF:Q8_0"]
    assert (coder.source, coder.context, coder.load_mode) == (str(tmp_path / "coder.gguf"), 4096, "read")
    assert "not carried over: mmproj=p.gguf (images" in comments
    assert "not carried over: stop-timeout=10" in comments


# ---------------------------------------------------------------- llama-swap

SWAP = """\
healthCheckTimeout: 500
globalTTL: 90
hooks: {on_startup: {preload: [big]}}
apiKeys: [sk-hunter2]
macros:
  server: >
    /opt/llama-server-b9000
    --port ${PORT}
  ctx: 4096
  dir: ${env.MODELS}
models:
  big:
    macros: {ctx: 16384}
    cmd: |
      # a comment
      ${server}
      --model ${dir}/big.gguf --ctx-size ${ctx}
    description: The big one
    env: [LLAMA_ARG_THREADS=4, CUDA_VISIBLE_DEVICES=0]
    ttl: 60
    aliases: [gpt-4o, {id: big/alias}]
    filters:
      strip_params: temperature
      setParams: {temperature: 0.2, nothing: 1}
      setParamsByID: {"${MODEL_ID}:high": {a: 1}}
  "Small (fast)":
    cmd: docker run -v /m:/models ghcr.io/ggml-org/llama.cpp:server -m /models/${unknown}.gguf
    aliases: [gpt-4o]
  vllm: {cmd: "vllm serve x"}
groups: {a: {members: [big]}}
"""


def test_llama_swap(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS", "/srv/models")
    file = tmp_path / "config.yaml"
    file.write_text(SWAP)
    models, comments = imported(capsys, str(file))
    assert list(models) == ["big", "Small-fast-"]
    big, small = models.values()
    assert (big.source, big.context, big.threads) == ("/srv/models/big.gguf", 16384, 4)
    assert (big.state, big.keep_alive, small.keep_alive) == ("loaded", 60.0, 90.0)
    assert dict(big.parameters) == {"temperature": 0.2}
    assert [alias.display for alias in big.aliases] == ["gpt-4o:latest", "big/alias:latest", "big:high"]
    for said in (
        "healthCheckTimeout (that is load_timeout",
        "apiKeys (who",
        "groups (powerd",
        "the model vllm (it runs vllm,",
        "CUDA_VISIBLE_DEVICES=0 (",
        "filters.strip_params (",
        "filters.setParams.nothing (",
        "filters.setParamsByID (",
        "the name Small (fast) (a model",
        "the name gpt-4o (another",
    ):
        assert f"# not carried over: {said}" in comments, said
    assert "# The big one" in comments
    assert "runs in a container" in comments
    assert "${unknown} has no value here" in comments
    assert "hunter2" not in comments
    assert "PORT" not in comments


@pytest.mark.parametrize("again", ["${b}", "${b} ${b} ${b} ${b} ${b}"])
def test_macros_that_name_each_other_end(tmp_path: Path, capsys: Capture, again: str) -> None:
    macros = f"macros: {{a: '{again}', b: '{again.replace('b', 'a')}', c: [1]}}\n"
    written = macros + "models:\n  x: {cmd: 'llama-server ${a}'}\n"
    (tmp_path / "c.yaml").write_text(written)
    code = main(["import", str(tmp_path / "c.yaml")])
    told = capsys.readouterr()
    assert "the model x (its command names no model)" in told.out or (code == 1 and "comes to more than" in told.err)


# ---------------------------------------------------------------- a Modelfile

MODELFILE = '''\
FROM ./weights.gguf
ADAPTER ./lora.gguf
PARAMETER num_ctx 4096
PARAMETER num_gpu 999
PARAMETER temperature 0.3
PARAMETER stop "<a>"
PARAMETER stop "<b>"
PARAMETER mirostat_tau 4.5
PARAMETER low_vram true
PARAMETER use_mmap false
SYSTEM """You are careful.
And brief."""
TEMPLATE "{{ .System }} {{ .Prompt }}"
MESSAGE user hi
MESSAGE assistant hello
LICENSE MIT
PARSER qwen3
'''


def test_a_modelfile(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "coder.modelfile").write_text(MODELFILE)
    spec, comments = one(capsys, str(tmp_path / "coder.modelfile"))
    assert (spec.display, spec.source) == ("coder", str(tmp_path / "weights.gguf"))
    assert (spec.context, spec.gpu_layers, spec.load_mode) == (4096, "all", "read")
    assert dict(spec.parameters) == {"temperature": 0.3, "stop": ("<a>", "<b>"), "mirostat_tau": 4.5}
    assert (spec.system, spec.messages) == ("You are careful.\nAnd brief.", (("user", "hi"), ("assistant", "hello")))
    assert spec.template is not None
    assert (spec.template.syntax, spec.template.text) == ("go", "{{ .System }} {{ .Prompt }}")
    assert [adapter.source for adapter in spec.adapters] == [str(tmp_path / "lora.gguf")]
    for said in ("PARAMETER low_vram true (", "LICENSE (", "PARSER ("):
        assert f"# not carried over: {said}" in comments


@pytest.mark.parametrize("source", ["llama3.2:1b", "hf.co/org/repo:Q8_0", "/srv/x.gguf"])
def test_a_from_that_is_no_file_beside_it_stays(tmp_path: Path, capsys: Capture, source: str) -> None:
    (tmp_path / "Modelfile").write_text(f"FROM {source}\n")
    spec, _ = one(capsys, str(tmp_path / "Modelfile"), "--name", "mine")
    assert (spec.display, spec.source) == ("mine", source)


def test_a_modelfile_on_standard_input(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"FROM llama3.2\n")))
    assert one(capsys, "-", "--name", "mine")[0].source == "llama3.2"


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("x.txt", b"hello", "neither a Modelfile, a configuration of llama-swap, nor"),
        ("x.ini", b"[a]\nb\n", "no preset: "),
        ("x.yaml", b"models: [1]\n", "no configuration of llama-swap"),
        ("x.yaml", b"models: {\n", "not YAML"),
        ("Modelfile", b"FROM x\nWRONG y\n", "no Modelfile: (line 2)"),
        ("x.sh", b"llama-server -c 5\n", "the command line names no model"),
        ("x.sh", b"llama-server -m 'a\n", "no command line: No closing quotation"),
        ("x.sh", b"\xff\xfe\xff", "neither UTF-8"),
    ],
)
def test_what_is_none_of_these_is_refused(
    tmp_path: Path, capsys: Capture, name: str, written: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(written)
    assert main(["import", str(tmp_path / name)]) == 1
    told = capsys.readouterr()
    assert (told.out, said in told.err) == ("", True), told.err


def test_a_missing_file_is_named(capsys: Capture) -> None:
    assert main(["import", "/nowhere/Modelfile"]) == 1
    assert capsys.readouterr().err == "Error: /nowhere/Modelfile: No such file or directory\n"
