from __future__ import annotations

import pytest

from powerd.ctl.hosts import host


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("", "http://127.0.0.1:11434"),
        ("example.com", "http://example.com:11434"),
        ("example.com:1234", "http://example.com:1234"),
        ("http://example.com", "http://example.com:80"),
        ("https://example.com", "https://example.com:443"),
        ("https://example.com:8443/under/", "https://example.com:8443/under"),
        ("ollama.com", "https://ollama.com:443"),
        (":1234", "http://127.0.0.1:1234"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("[::]:1234", "http://[::1]:1234"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("example.com:no", "http://example.com:11434"),
        ("example.com:70000", "http://example.com:11434"),
        ("  'example.com:1'  ", "http://example.com:1"),
    ],
)
def test_every_form_of_ollama_host(text: str, server: str) -> None:
    assert str(host({"OLLAMA_HOST": text})) == server


def test_without_the_variable_it_is_this_machine() -> None:
    assert str(host({})) == "http://127.0.0.1:11434"
