"""Each field: what it takes, what it refuses and in which words."""

from __future__ import annotations

import dataclasses
import math

import pytest

from powerd.catalog.fields import FIELDS
from powerd.catalog.spec import Adapter, Defaults, ModelSpec, Require
from powerd.digest import Digest
from powerd.options import GONE, RUNNER_FIELDS
from powerd.protocol import Placement
from tests.catalog.reading import HEAD, catalog, entry, model, problems, refused

HEX = "0123456789abcdef" * 4

#: A field as it is written, and what it comes to.
TAKEN: list[tuple[str, object]] = [
    ("quantization: Q4_K_M", "Q4_K_M"),
    (f"digest: sha256:{HEX.upper()}", Digest(HEX)),
    ("state: loaded", "loaded"),
    ("state: available", "available"),
    ("gpu_layers: auto", None),
    ("gpu_layers: all", "all"),
    ("gpu_layers: 0", 0),
    ("gpu_layers: 0o17", 15),
    ("context: auto", None),
    ("context: 1", 1),
    ("context: 2147483647", 2147483647),
    ("context: 017", 17),
    ("parallel: auto", None),
    ("parallel: 256", 256),
    ("kv_cache: q4_0", "q4_0"),
    ("threads: auto", None),
    ("threads: 1", 1),
    ("threads: 512", 512),
    ("batch: auto", None),
    ("batch: 65536", 65536),
    ("load_mode: auto", "auto"),
    ("load_mode: mmap", "mmap"),
    ("load_mode: read", "read"),
    ("load_mode: mlock", "mlock"),
    ("flash_attention: auto", None),
    ("flash_attention: true", True),
    ("flash_attention: false", False),
    ("pooling: auto", None),
    ("pooling: mean", "mean"),
    ("pooling: cls", "cls"),
    ("pooling: last", "last"),
    ("request_options: auto", None),
    ("request_options: declared", "declared"),
    ("request_options: grow", "grow"),
    ("request_options: reject", "reject"),
    ("class: interactive", "interactive"),
    ("class: batch", "batch"),
    ("placement: {}", None),
    ("placement: {split: layer}", None),
    ("placement: {devices: [CUDA0]}", Placement(devices=("CUDA0",))),
    ("keep_alive: always", math.inf),
    ("keep_alive: 0", 0.0),
    ("keep_alive: 30s", 30.0),
    ("keep_alive: 1h30m", 5400.0),
    ("keep_alive: 2d", 172800.0),
    ("keep_alive: 90", 90.0),
    ("keep_alive: 1.5", 1.5),
    ("priority: -1000", -1000),
    ("priority: 1000", 1000),
    ("overflow: reject", "reject"),
    ("require: {gpu: true}", Require(gpu=True)),
    ("require: {gpu: true, full_offload: true}", Require(gpu=True, full_offload=True)),
    ("require: {}", Require()),
    ("think: auto", None),
    ("think: true", True),
    ("think: false", False),
    ("think: max", "max"),
    ("system: be brief", "be brief"),
    ("system: on", "on"),
    ('system: "5"', "5"),
    ("parameters: {temperature: 0.2, top_k: 40}", {"temperature": 0.2, "top_k": 40}),
    ("parameters: {temperature: 1}", {"temperature": 1.0}),
    ("parameters: {stop: ['<end>', x]}", {"stop": ("<end>", "x")}),
    ("parameters: {}", {}),
    (
        "messages: [{role: user, content: hi}, {role: assistant, content: ho}]",
        (("user", "hi"), ("assistant", "ho")),
    ),
    ("messages: []", ()),
    ("adapters: [{source: ./a.gguf, scale: 0.5}]", (Adapter("/etc/power/a.gguf", 0.5),)),
    ("adapters: [{source: a}]", (Adapter("a", 1.0),)),
    ("draft: {source: 'qwen3:0.6b'}", "qwen3:0.6b"),
]

#: A field as it is written, and the words it is refused with.
REFUSED = [
    (
        'context: "5"',
        '5:14: m: context must be auto or a whole number from 1 to 2147483647, not "5"; in quotes it is',
    ),
    ("context: 1e3", "5:14: m: context must be auto or a whole number from 1 to 2147483647, not 1e3; write 1000"),
    ("context: 32k", 'not "32k"'),
    ("context: 0", "not 0"),
    ("context: 2147483648", "not 2147483648"),
    ("context: true", "not true"),
    ("context: Auto", 'not "Auto"'),
    ("context: [1]", "not a list"),
    ("context: {a: 1}", "not a mapping"),
    ("context:", "5:13: m: context must be auto or a whole number from 1 to 2147483647, but it has no value"),
    ("gpu_layers: -1", "m: gpu_layers must be auto, all or a whole number from 0 to 2147483647, not -1"),
    ("gpu_layers: 1.5", "not 1.5"),
    ("gpu_layers: .nan", "not .nan"),
    ("parallel: 0", "from 1 to 256, not 0"),
    ("parallel: 257", "from 1 to 256, not 257"),
    ("kv_cache: f32", 'm: kv_cache must be one of auto, f16, q8_0, q4_0, not "f32"'),
    ("threads: 0", "m: threads must be auto or a whole number from 1 to 512, not 0"),
    ("threads: 513", "not 513"),
    ("threads: all", 'not "all"'),
    ("batch: 0", "m: batch must be auto or a whole number from 1 to 65536, not 0"),
    ("batch: 65537", "not 65537"),
    ("load_mode: disk", 'm: load_mode must be one of auto, mmap, read, mlock, not "disk"'),
    ("load_mode: true", "not true"),
    ("flash_attention: on", 'm: flash_attention must be one of auto, true, false, not "on"'),
    ("flash_attention: 1", "not 1"),
    ("pooling: rank", 'm: pooling must be one of auto, mean, cls, last, not "rank"'),
    ("pooling: none", 'not "none"'),
    ("request_options: allow", "m: request_options must be one of auto, declared, grow, reject"),
    ("class: realtime", 'm: class must be one of interactive, batch, not "realtime"'),
    ("class:", "but it has no value"),
    (
        "keep_alive: 1:30",
        'm: keep_alive must be a duration such as 30s, 5m or 1h30m, seconds, 0 or always, not "1:30"',
    ),
    ("keep_alive: -1", 'not -1; write "always" to keep it loaded'),
    ("keep_alive: -5m", 'not "-5m"; write "always" to keep it loaded'),
    ("keep_alive: .inf", 'not .inf; write "always" to keep it loaded'),
    ("keep_alive: .nan", "not .nan"),
    ('keep_alive: "300"', 'not "300"'),
    ("keep_alive: false", "not false"),
    ("keep_alive:", "but it has no value"),
    ("priority: 1001", "from -1000 to 1000, not 1001"),
    ("priority: on", 'not "on"'),
    ("state: running", 'm: state must be one of loaded, available, absent, not "running"'),
    ("state: off", 'not "off"'),
    ("overflow: cut", "m: overflow must be one of dialect, reject, truncate, shift"),
    ("require: true", "m: require must be a mapping with gpu, full_offload, not true"),
    ("require: {gpu: on}", '5:20: m: require.gpu must be true or false, not "on"'),
    ("require: {gpu: 1}", "m: require.gpu must be true or false, not 1"),
    ("require: {gpuu: true}", '5:15: m: require: unknown key "gpuu"; did you mean "gpu"?'),
    ("think: on", "m: think must be one of auto, true, false, low, medium, high, max"),
    ("think: 'true'", 'not "true"'),
    ("think: 1", "not 1"),
    ("system: 5", "m: system must be text, not 5; put it in quotes"),
    ("system: ''", 'm: system must be text, not ""'),
    ("system: [a]", "m: system must be text, not a list"),
    ("quantization: 4", "m: quantization must be text, not 4; put it in quotes"),
    ("digest: sha256:12", "m: digest must be sha256: followed by 64 hexadecimal digits"),
    (f"digest: [sha256:{HEX}]", "m: digest must be sha256: followed by 64 hexadecimal digits"),
    ("parameters: [temperature]", "m: parameters must be a mapping of sampling options, not a list"),
    (
        "parameters: {temprature: 1}",
        '5:18: m: parameters: unknown option "temprature"; did you mean "temperature"?',
    ),
    ("parameters: {temperature: hot}", '5:31: m: parameters: option "temperature" must be of type float32'),
    ("parameters: {temperature: true}", 'option "temperature" must be of type float32'),
    ("parameters: {temperature: .nan}", 'option "temperature" must be a finite number'),
    ("parameters: {temperature: 1e999}", 'option "temperature" must be a finite number'),
    ("parameters: {temperature: }", 'option "temperature" has no value'),
    ("parameters: {top_p: 1.5}", 'option "top_p" must be between 0 and 1, not 1.5'),
    ("parameters: {top_k: 1e3}", 'option "top_k" must be a whole number, not 1e3'),
    ("parameters: {top_k: '5'}", 'option "top_k" must be of type integer'),
    ("parameters: {stop: x}", 'option "stop" must be of type array'),
    ("parameters: {stop: [1]}", 'option "stop" must be of an array of strings'),
    ("parameters: {penalize_newline: on}", 'option "penalize_newline" must be of type boolean'),
    ("messages: {role: user}", "m: messages must be a list, not a mapping"),
    ("messages: [hi]", '5:16: m: messages[1] must be a mapping with role, content, not "hi"'),
    ("messages: [{role: tool, content: x}]", "m: messages[1].role must be one of system, user, assistant"),
    ("messages: [{role: user}]", 'm: messages[1] needs "content"'),
    (
        "messages: [{role: user, content: x, name: y}]",
        'm: messages[1]: unknown key "name"; known here: role, content',
    ),
    ("adapters: [{scale: 1}]", 'm: adapters[1] needs "source"'),
    ("adapters: [{source: a, scale: .inf}]", "m: adapters[1].scale must be a number, not .inf"),
    ("adapters: [{source: a, scale: true}]", "m: adapters[1].scale must be a number, not true"),
    ("draft: qwen3", 'm: draft must be a mapping with source, not "qwen3"'),
    ("draft: {}", 'm: draft needs "source"'),
    ("aliases: gpt", 'm: aliases must be a list, not "gpt"'),
    ("aliases: [a b]", '5:15: m: aliases[1] must be a model name such as gpt-4o or team/coder:7b, not "a b"'),
    ("aliases: [http://x/y]", "m: aliases[1] must be a model name"),
    ("aliases: [powerd.local/declared/x]", "m: aliases[1] must be a model name"),
    ("aliases: [{a: b}]", "not a mapping"),
    ("aliases: [~]", "but it has no value"),
]


@pytest.mark.parametrize(("line", "value"), TAKEN)
def test_a_field_takes(line: str, value: object) -> None:
    name = line.partition(":")[0]
    got = getattr(model(line), FIELDS[name].attribute)
    assert got == value
    assert type(got) is type(value) or name == "parameters"


def test_what_an_entry_does_not_say_has_the_documented_default() -> None:
    spec = model("")
    told = {field.name: getattr(spec, field.attribute) for field in FIELDS.values() if field.available}
    assert told == {
        "source": "x",
        "quantization": None,
        "digest": None,
        "state": "available",
        "gpu_layers": None,
        "context": None,
        "parallel": None,
        "kv_cache": None,
        "placement": None,
        "threads": None,
        "batch": None,
        "load_mode": "auto",
        "flash_attention": None,
        "pooling": None,
        "request_options": None,
        "class": "interactive",
        "keep_alive": None,
        "priority": 0,
        "aliases": (),
        "overflow": "dialect",
        "require": Require(),
        "think": None,
        "system": None,
        "template": None,
        "parameters": {},
        "messages": (),
        "adapters": (),
        "draft": None,
    }
    for name, field in FIELDS.items():
        if field.available and field.default and name not in {"keep_alive", "require"}:
            assert getattr(model(f"{name}: {field.default}"), field.attribute) == told[name], name


@pytest.mark.parametrize(("line", "message"), REFUSED)
def test_y04_a_field_refuses(line: str, message: str) -> None:
    (refusal,) = refused(line)
    assert refusal.startswith("m.yaml:5:")
    assert message in refusal


@pytest.mark.parametrize(
    ("written", "source"),
    [
        ("llama3.2:1b", "llama3.2:1b"),
        ("builtin:demo", "builtin:demo"),
        ("https://host/x.gguf", "https://host/x.gguf"),
        ("./a/b.gguf", "/etc/power/a/b.gguf"),
        ("../b.gguf", "/etc/power/../b.gguf"),
        ("/srv/b.gguf", "/srv/b.gguf"),
        ("405", None),
        ("' '", None),
        ("", None),
        ("[x]", None),
    ],
)
def test_source_is_kept_as_written_and_paths_start_at_the_file(written: str, source: str | None) -> None:
    text = entry(f"source: {written}")
    if source is None:
        assert problems(text)
    else:
        assert catalog(text).models["m"].source == source


def test_a_source_below_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/power")
    assert catalog(entry("source: ~/m.gguf")).models["m"].source == "/home/power/m.gguf"


def test_y04_every_mistake_in_a_list_is_said() -> None:
    assert len(refused("messages: [1, {role: x}, {content: 2, role: user}]")) == 4


@pytest.mark.parametrize("name", sorted(RUNNER_FIELDS))
def test_a_runner_option_among_the_parameters_names_its_field(name: str) -> None:
    (refusal,) = refused(f"parameters: {{{name}: 1}}")
    assert f'm: parameters: "{name}" is a runner option' in refusal
    field = RUNNER_FIELDS[name]
    assert field is None or FIELDS[field].available
    assert (f'use the field "{field}"' if field else "it has no effect in powerd: remove it") in refusal


@pytest.mark.parametrize(("name", "reason"), sorted(GONE.items()))
def test_an_option_that_nothing_here_has_is_refused_with_the_reason(name: str, reason: str) -> None:
    (refusal,) = refused(f"parameters: {{{name}: 1}}")
    assert f'm: parameters: "{name}" has no effect in powerd: {reason}; remove it' in refusal


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if not field.available])
@pytest.mark.parametrize("value", ["1", "x", "{a: b}", ""])
def test_a_reserved_field_is_refused_by_name(name: str, value: str) -> None:
    told = f'"{name}" is reserved for a later version and not available yet'
    assert f"m.yaml:5:5: m: {told}" in refused(f"{name}: {value}")[0]
    in_defaults = problems(f"{HEAD}defaults:\n  {name}: {value}\n")
    assert f"m.yaml:3:3: defaults: {told}" in in_defaults[0]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("contxt", 'unknown key "contxt"; did you mean "context"?'),
        ("Context", 'unknown key "Context"; did you mean "context"?'),
        ("quant", 'unknown key "quant"; did you mean "quantization"?'),
        ("alias", 'unknown key "alias"; did you mean "aliases"?'),
        ("params", 'unknown key "params"; did you mean "parameters"?'),
        ("num_ctx", 'unknown key "num_ctx"; did you mean "context"?'),
        ("num_gpu", 'unknown key "num_gpu"; did you mean "gpu_layers"?'),
        ("num_thread", 'unknown key "num_thread"; did you mean "threads"?'),
        ("main_gpu", 'unknown key "main_gpu"; did you mean "placement"?'),
        ("flash_attn", 'unknown key "flash_attn"; did you mean "flash_attention"?'),
        ("temperature", 'unknown key "temperature"; a sampling option belongs under "parameters"'),
        ("zzz", 'unknown key "zzz"; known here: source, quantization,'),
        ("<<x", 'unknown key "<<x"; known here:'),
        ("k" * 5000, 'unknown key "' + "k" * 59 + '…"; known here:'),
    ],
)
def test_y04_an_unknown_key_names_the_nearest(key: str, hint: str) -> None:
    quoted = f"'{key}'" if "<" in key else key
    text = entry("source: x").replace("    source: x\n", f"    source: x\n    ? {quoted}\n    : 1\n")
    (refusal,) = problems(text)
    assert hint in refusal
    assert len(refusal) < 500


def test_a_key_cannot_smuggle_lines_into_the_log() -> None:
    (refusal,) = refused('"a\\nb\\e[31m": 1')
    assert "\n" not in refusal
    assert "\x1b" not in refusal


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("draft: {source: x}", "`draft`"),
    ],
)
def test_what_this_version_cannot_do_is_said_of_the_model_and_as_a_warning(line: str, sentence: str) -> None:
    read = catalog(entry(f"source: x\n{line}"))
    (told,) = read.models["m"].not_yet
    assert sentence in told
    assert "not available yet" in told
    assert [str(warning) for warning in read.warnings] == [f"m.yaml:5:5: m: {told}"]


@pytest.mark.parametrize(
    "line",
    [
        "think: auto",
        "overflow: dialect",
        "overflow: reject",
        "overflow: truncate",
        "overflow: shift",
        "think: true",
        "think: high",
        "adapters: []",
        "adapters: [{source: ./a.gguf, scale: 0.5}]",
        "template: hi",
        "template: '{{ .Prompt }}'",
    ],
)
def test_what_it_can_do_is_no_warning(line: str) -> None:
    read = catalog(entry(f"source: x\n{line}"))
    assert not read.warnings
    assert not read.models["m"].not_yet


def test_the_table_and_the_spec_have_the_same_fields() -> None:
    held = {field.name for field in dataclasses.fields(ModelSpec)} - {"name", "at", "not_yet", "origins"}
    assert {field.attribute for field in FIELDS.values() if field.available} == held


def test_what_holds_for_undeclared_models_may_stand_in_the_defaults() -> None:
    in_defaults = {field.attribute for field in FIELDS.values() if field.available and field.in_defaults}
    assert {field.name for field in dataclasses.fields(Defaults)} <= in_defaults
