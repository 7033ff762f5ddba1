"""Settings: which layer wins, what OLLAMA_* variables come to, and what is said of bad values."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from powerd.fleet.survey import Survey
from powerd.fleet.terms import FleetConfig
from powerd.jobs import Accelerator, Probed
from powerd.ollama_variables import MEANINGLESS, OLLAMA_VARIABLES, ollama_host, without_effect
from powerd.paths import resolve
from powerd.settings import Settings, explain, host_port, load


@pytest.fixture(autouse=True)
def no_power_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POWER_LISTEN", "POWER_MAX_QUEUE", "POWER_STORE_PATH", "POWER_LOG_LEVEL", "POWER_ALLOWED_HOSTS"):
        monkeypatch.delenv(name, raising=False)


def test_flags_win_over_power_over_ollama_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    file = {"max_queue": 1, "listen": "1.1.1.1:1", "drain_timeout": "30s"}
    environ = {"OLLAMA_MAX_QUEUE": "2", "OLLAMA_HOST": "2.2.2.2:2"}
    assert load({}, {}, file).max_queue == 1
    assert load({}, environ, file).max_queue == 2
    monkeypatch.setenv("POWER_MAX_QUEUE", "3")
    assert load({}, environ, file).max_queue == 3
    settings = load({"max_queue": 4}, environ, file)
    assert (settings.max_queue, settings.listen, settings.drain_timeout) == (4, "2.2.2.2:2", 30.0)


def test_sections_merge_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWER_STORE_PATH", "/from/env")
    settings = load({}, {"OLLAMA_MODELS": "/from/ollama"}, {"store": {"quota": "3GiB", "path": "/from/file"}})
    assert (settings.store.path, settings.store.quota) == (Path("/from/env"), 3 << 30)


def test_lists_in_the_environment_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWER_ALLOWED_HOSTS", "a, b")
    assert load({}, {"OLLAMA_ORIGINS": "http://x,app://y"}, {}).allowed_hosts == ("a", "b")
    assert load({}, {"OLLAMA_ORIGINS": "http://x,app://y"}, {}).allowed_origins == ("http://x", "app://y")


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("OLLAMA_HOST", ":1234", "listen", "0.0.0.0:1234"),
        ("OLLAMA_KEEP_ALIVE", "-1", "keep_alive", math.inf),
        ("OLLAMA_KEEP_ALIVE", "90", "keep_alive", 90.0),
        ("OLLAMA_KEEP_ALIVE", '"24h"', "keep_alive", 86400.0),
        ("OLLAMA_KEEP_ALIVE", "soon", "keep_alive", 300.0),
        ("OLLAMA_LOAD_TIMEOUT", "0", "load_timeout", math.inf),
        ("OLLAMA_LOAD_TIMEOUT", "-1", "load_timeout", math.inf),
        ("OLLAMA_CONTEXT_LENGTH", "8192", "context_length", 8192),
        ("OLLAMA_NUM_PARALLEL", "many", "parallel", 0),
        ("OLLAMA_MAX_LOADED_MODELS", "2", "max_loaded_models", 2),
        ("OLLAMA_KV_CACHE_TYPE", "Q8_0", "kv_cache", "q8_0"),
        ("OLLAMA_LOAD_TIMEOUT", "90s", "load_timeout", 90.0),
        ("OLLAMA_MAX_QUEUE", "7", "max_queue", 7),
        ("OLLAMA_NUM_PARALLEL", "4", "parallel", 4),
        ("OLLAMA_CONTEXT_LENGTH", "-1", "context_length", 0),
        ("OLLAMA_FLASH_ATTENTION", "1", "flash_attention", "on"),
        ("OLLAMA_FLASH_ATTENTION", "False", "flash_attention", "off"),
        ("OLLAMA_FLASH_ATTENTION", "auto", "flash_attention", "auto"),
        ("OLLAMA_GPU_OVERHEAD", "1073741824", "gpu_overhead", 1 << 30),
        ("OLLAMA_GPU_OVERHEAD", "1GiB", "gpu_overhead", 0),
        ("OLLAMA_GO_TEMPLATE", "1", "go_templates", "on"),
        ("OLLAMA_GO_TEMPLATE", "false", "go_templates", "off"),
        ("OLLAMA_GO_TEMPLATE", "", "go_templates", "auto"),
        ("OLLAMA_SCHED_SPREAD", "true", "sched_spread", True),
        ("OLLAMA_SCHED_SPREAD", "0", "sched_spread", False),
        ("OLLAMA_SCHED_SPREAD", "yes", "sched_spread", True),
        ("OLLAMA_NOPRUNE", "1", "max_delete_fraction", 0.0),
        ("OLLAMA_NOPRUNE", "false", "max_delete_fraction", 0.5),
        ("OLLAMA_NUM_GPU", "12", "gpu_layers", 12),
        ("OLLAMA_NUM_GPU", "-1", "gpu_layers", -1),
        ("OLLAMA_NUM_GPU", "all", "gpu_layers", -1),
        ("MAX_CACHE_MODELS", "3", "max_loaded_models", 3),
    ],
)
def test_ollama_variables(variable: str, text: str, field: str, value: object) -> None:
    assert variable in OLLAMA_VARIABLES
    assert getattr(load({}, {variable: text}, {}), field) == value


def test_other_servers_variables_yield_to_ollamas() -> None:
    assert load({}, {"OLLAMA_MAX_LOADED_MODELS": "2", "MAX_CACHE_MODELS": "3"}, {}).max_loaded_models == 2
    assert load({}, {"MODEL_Q4_THRESHOLD_BYTES": "14000000000"}, {}).pull.q4_above == 14_000_000_000
    assert load({}, {"MODEL_Q4_THRESHOLD_BYTES": "14e9"}, {"pull": {"q4_above": "1GB"}}).pull.q4_above == 10**9


def test_what_is_set_and_means_nothing_is_told_with_its_reason() -> None:
    told = dict(without_effect({"OLLAMA_TMPDIR": "/tmp", "OLLAMA_REMOTES": "", "OLLAMA_DEBUG": "1"}))
    assert list(told) == ["OLLAMA_TMPDIR"]
    assert "store" in told["OLLAMA_TMPDIR"]
    assert not set(MEANINGLESS) & set(OLLAMA_VARIABLES)


def test_ollama_debug_is_the_log_level() -> None:
    assert load({}, {"OLLAMA_DEBUG": "1"}, {}).log.level == "debug"
    assert load({}, {"OLLAMA_DEBUG": "0"}, {}).log.level == "info"


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1", "127.0.0.1:11434"),
        ("http://h", "h:80"),
        ("https://h:5/path", "h:5"),
        ("h:99999", "h:11434"),
        ("[::1]:7", "[::1]:7"),
        ("[::1]", "[::1]:11434"),
        ("::1", "[::1]:11434"),
        (":1234", "0.0.0.0:1234"),
        ("http://", "127.0.0.1:80"),
    ],
)
def test_ollama_host_forms(text: str, listen: str) -> None:
    assert ollama_host(text) == listen


def test_every_problem_is_named_with_its_key() -> None:
    with pytest.raises(ValidationError) as caught:
        load({}, {}, {"lisen": 1, "listen": "nonsense", "store": {"pth": 1}, "tls": {}, "max_queue": -1})
    said = dict(explain(caught.value))
    assert said["lisen"] == 'unknown key "lisen"; did you mean "listen"?'
    assert "HOST:PORT" in said["listen"]
    assert 'did you mean "store.path"' in said["store.pth"]
    assert "reserved for a later version" in said["tls"]
    assert "greater than or equal to 0" in said["max_queue"]


def test_host_port() -> None:
    assert host_port("[::1]:80") == ("::1", 80)
    for bad in ("x", "x:", ":80", "x:70000", "x:٨٠"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            host_port(bad)


def test_paths_as_root_and_as_a_user() -> None:
    home = Path("/home/u")
    root = resolve(Settings(), 0, {}, home)
    assert (root.config, root.models) == (Path("/etc/power/powerd.yaml"), Path("/etc/power/models.yaml"))
    assert (root.state, root.store) == (Path("/var/lib/power"), Path("/var/lib/power/models"))
    assert root.socket == Path("/run/power/control.sock")
    user = resolve(Settings(), 1000, {"XDG_RUNTIME_DIR": "/run/user/1000"}, home)
    assert user.models == Path("/home/u/.config/power/models.yaml")
    assert user.state == Path("/home/u/.local/share/power")
    assert user.socket == Path("/run/user/1000/power/control.sock")
    assert resolve(Settings(), 1000, {}, home).socket == Path("/home/u/.local/share/power/control.sock")
    assert resolve(Settings(), 0, {"POWER_HOME": "/p"}, home).socket == Path("/p/control.sock")


def test_the_hub_is_reached_as_the_file_and_a_variable_of_json_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWER_SOURCES_HUGGINGFACE", '{"endpoint": "https://mirror.example"}')
    hub = load({}, {}, {"sources": {"huggingface": {"token_file": "/etc/power/hub-token"}}}).sources.huggingface
    assert (hub.endpoint, hub.token_file) == ("https://mirror.example", Path("/etc/power/hub-token"))


def test_an_unknown_key_two_sections_deep_gets_the_nearest_valid_one() -> None:
    with pytest.raises(ValidationError) as caught:
        load({}, {}, {"sources": {"huggingface": {"end_point": "x"}}})
    ((key, sentence),) = explain(caught.value)
    assert key == "sources.huggingface.end_point"
    assert 'did you mean "sources.huggingface.endpoint"?' in sentence


def test_devices_are_named_by_id_uuid_or_pci_id() -> None:
    devices = {"cpu": {"budget": "8GiB"}, "CUDA0": {"reserve": "1GiB"}, "0000:c1:00.0": {}, "GPU-5f-a": {"budget": 0}}
    settings = load({}, {}, {"devices": devices})
    assert settings.devices["cpu"].budget == 8 << 30
    assert (settings.devices["CUDA0"].budget, settings.devices["CUDA0"].reserve) == (None, 1 << 30)


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ({"": {}}, '"" is not cpu, an id of the engine'),
        ({"a b": {}}, '"a b" is not cpu, an id of the engine'),
        ({"CUDA0": {}, "cuda0": {}}, "a device is listed twice"),
        ({"CUDA0": {"budget": -1}}, "greater than or equal to 0"),
    ],
)
def test_devices_that_cannot_be_are_refused(devices: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        load({}, {}, {"devices": devices})
    assert words in " ".join(sentence for _, sentence in explain(refused.value))


def test_the_fleet_keeps_the_limits_that_variables_set() -> None:
    environ = {
        "OLLAMA_LOAD_TIMEOUT": "90s",
        "OLLAMA_MAX_QUEUE": "7",
        "MAX_CACHE_MODELS": "2",
        "OLLAMA_KEEP_ALIVE": "-1",
    }
    limits = FleetConfig.of(load({}, environ, {}))
    assert (limits.load_timeout, limits.max_queue, limits.max_loaded_models) == (90.0, 7, 2)
    assert limits.keep_alive == math.inf


@pytest.mark.parametrize(("overhead", "given_out"), [("0", 20), ("1073741824", 19), ("1GiB", 20)])
def test_what_is_kept_free_on_each_accelerator_is_not_given_out(overhead: str, given_out: int) -> None:
    card = Accelerator("CUDA0", "gpu", "a card", total=24 << 30, free=20 << 30)
    survey = Survey(load({}, {"OLLAMA_GPU_OVERHEAD": overhead}, {}), [])
    survey.take(Probed("engine", (card,), idle=1))
    assert survey.devices[1].budget == given_out << 30
