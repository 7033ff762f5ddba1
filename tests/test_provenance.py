"""provenance: which layer set an option of the daemon's."""

from __future__ import annotations

from powerd.provenance import origins

FILE = {"listen": "p.yaml:1", "max_queue": "p.yaml:2", "store.quota": "p.yaml:4", "log.level": "p.yaml:6"}


def test_flags_win_over_power_over_ollama_over_the_file() -> None:
    environ = {"POWER_MAX_QUEUE": "3", "OLLAMA_MAX_QUEUE": "4", "OLLAMA_DEBUG": "1", "OLLAMA_CONTEXT_LENGTH": "8192"}
    found = origins({"listen": "1.1.1.1:1", "store": {"path": "/x"}}, environ, FILE)
    assert found == {
        "listen": "--listen",
        "store.path": "--store",
        "store.quota": "p.yaml:4",
        "max_queue": "POWER_MAX_QUEUE",
        "log.level": "OLLAMA_DEBUG",
        "context_length": "OLLAMA_CONTEXT_LENGTH",
    }


def test_what_nobody_set_and_what_ollama_would_ignore_are_missing() -> None:
    assert origins({}, {"OLLAMA_CONTEXT_LENGTH": "lots", "POWER_NONSENSE": "1"}, {}) == {}


def test_of_two_variables_for_one_option_the_one_that_was_set_is_named() -> None:
    assert origins({}, {"MAX_CACHE_MODELS": "3"}, {}) == {"max_loaded_models": "MAX_CACHE_MODELS"}
    both = {"MAX_CACHE_MODELS": "3", "OLLAMA_MAX_LOADED_MODELS": "2"}
    assert origins({}, both, {}) == {"max_loaded_models": "OLLAMA_MAX_LOADED_MODELS"}
