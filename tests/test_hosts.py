from __future__ import annotations

import pytest

from powerd.hosts import Host, address, parse, reachable


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("", "http://127.0.0.1:11434"),
        ("http://", "http://127.0.0.1:80"),
        ("example.com", "http://example.com:11434"),
        ("example.com:1234", "http://example.com:1234"),
        ("http://example.com", "http://example.com:80"),
        ("HTTPS://example.com", "https://example.com:443"),
        ("https://example.com:8443/under/", "https://example.com:8443/under"),
        ("ollama.com", "https://ollama.com:443"),
        ("0.0.0.0", "http://0.0.0.0:11434"),
        ("[::]:1234", "http://[::]:1234"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("example.com:no", "http://example.com:11434"),
        ("example.com:70000", "http://example.com:11434"),
        ("example.com:٨٠", "http://example.com:11434"),
        ("  'example.com:1'  ", "http://example.com:1"),
    ],
)
def test_every_form_of_a_host(text: str, server: str) -> None:
    assert str(parse(text)) == server


def test_a_port_alone_is_every_interface() -> None:
    assert parse(":1234") == Host("http", "", 1234)


def test_an_address_has_brackets_where_it_needs_them() -> None:
    assert [address(name, 80) for name in ("h", "::1")] == ["h:80", "[::1]:80"]


def test_a_listener_on_every_address_is_reached_over_loopback() -> None:
    listeners = ("", "0.0.0.0", "::", "10.0.0.7", "::1")
    assert [reachable(name) for name in listeners] == ["127.0.0.1", "127.0.0.1", "::1", "10.0.0.7", "::1"]
