"""Who may ask: Host, Origin and peer, by the exact lists of the design (reliability S23, S24, S25)."""

from __future__ import annotations

import pytest

from powerd.api.auth import Access, access, check_host, check_management, check_origin, is_loopback
from powerd.api.status import Refusal
from powerd.errors import Forbidden
from tests.api.rig import Rig


def rules(bound: str = "127.0.0.1", **more: object) -> Access:
    return access(bound=bound, hostname="Workhorse", **more)  # type: ignore[arg-type]


def host(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", value.encode("latin-1")) for value in values]


# ---------------------------------------------------------------- S23


@pytest.mark.parametrize("port", ["", ":11434", ":80"])
@pytest.mark.parametrize(
    "name",
    [
        *("localhost", "LocalHost", "a.localhost", "deep.er.localhost", "127.0.0.1", "127.1.2.3", "[::1]"),
        *("workhorse", "WORKHORSE", "host.docker.internal", "host.containers.internal"),
    ],
)
def test_s23_the_names_of_this_machine_are_allowed(name: str, port: str) -> None:
    check_host(host(name + port), rules())


@pytest.mark.parametrize("bound", ["127.0.0.1", "192.168.1.5", "0.0.0.0", "::"])
@pytest.mark.parametrize(
    "name",
    [
        *("evil.com", "evil.com:11434", "127.0.0.1.evil.com", "localhost.evil.com", "evil.local", "a.internal", ""),
        *("localhost@evil", "localhost:80:80", "local host", "localhost/", "localhost.", "workhorse.evil.com"),
        *("host.docker.internal.evil.com", "localhost:", "localhost:port", "[localhost]", "xlocalhost", "\xa1"),
        *("0x7f.1", "127.1", "2130706433", "[::ffff:127.0.0.1", "localhost\n", "localhost:80\n", "localhost:٣"),
    ],
)
def test_s23_every_other_name_is_refused_on_every_bind(name: str, bound: str) -> None:
    headers = [(b"host", name.encode())]
    with pytest.raises(Forbidden, match="allowed_hosts"):
        check_host(headers, rules(bound))


@pytest.mark.parametrize("values", [(), ("localhost", "localhost"), ("localhost", "evil.com")])
def test_s23_no_host_or_two_are_bad_requests(values: tuple[str, ...]) -> None:
    with pytest.raises(Refusal) as caught:
        check_host(host(*values), rules())
    assert caught.value.status == 400


def test_s23_the_bound_address_is_allowed_and_other_addresses_are_not() -> None:
    check_host(host("192.168.1.5:11434"), rules("192.168.1.5"))
    check_host(host("[FE80::1]:11434"), rules("fe80::1"))
    for other in ("192.168.1.6", "10.0.0.1", "8.8.8.8", "[fe80::2]"):
        with pytest.raises(Forbidden):
            check_host(host(other), rules("192.168.1.5"))


@pytest.mark.parametrize("bound", ["0.0.0.0", "::"])
def test_s23_bound_to_every_interface_each_literal_address_is_ours(bound: str) -> None:
    for address in ("192.168.1.5:11434", "10.0.0.1", "[fe80::1]:11434"):
        check_host(host(address), rules(bound))


def test_s23_further_names_are_matched_whole() -> None:
    allowed = rules(allowed_hosts=("Ai.example.com", " "))
    check_host(host("ai.EXAMPLE.com:443"), allowed)
    for other in ("x.ai.example.com", "ai.example.com.evil.com", "example.com"):
        with pytest.raises(Forbidden):
            check_host(host(other), allowed)


# ---------------------------------------------------------------- S24


def origin(value: str | None, **more: str) -> list[tuple[bytes, bytes]]:
    headers = [
        *host("localhost:11434"),
        *((name.replace("_", "-").encode(), text.encode()) for name, text in more.items()),
    ]
    return headers if value is None else [*headers, (b"origin", value.encode())]


@pytest.mark.parametrize(
    "value",
    [
        *("http://localhost", "https://localhost", "http://127.0.0.1", "http://0.0.0.0", "http://localhost:3000"),
        *("https://127.0.0.1:8443", "app://obsidian.md", "file://", "file:///home/me/page.html", "tauri://localhost"),
        *("vscode-webview://1fe3a", "vscode-file://vscode-app"),
    ],
)
def test_s24_ollamas_default_origins_are_allowed_and_named(value: str) -> None:
    assert check_origin(origin(value), rules()) == {"Access-Control-Allow-Origin": value, "Vary": "Origin"}


@pytest.mark.parametrize(
    "value",
    [
        *("https://evil", "null", "", "http://localhost.evil.com", "http://localhost:80.evil.com", "http://localhost:"),
        *("http://localhost:3000/x", "http://localhost:123456", "http://127.0.0.1.evil.com", "evil://localhost"),
        *("http://a.localhost", "chrome-extension://abc", "xapp://x", "http://localhost ", "http://user@localhost"),
        *("http://localhost:3000\n", "HTTP://evil", "http://localhost,http://evil"),
    ],
)
def test_s24_a_foreign_origin_is_refused_whole_not_by_prefix(value: str) -> None:
    with pytest.raises(Forbidden, match="OLLAMA_ORIGINS"):
        check_origin(origin(value), rules())


def test_s24_the_page_we_serve_ourselves_needs_no_cors() -> None:
    assert check_origin(origin("http://localhost:11434"), rules()) == {}
    assert check_origin(origin(None), rules()) == {}


def test_s24_two_origins_are_a_bad_request() -> None:
    with pytest.raises(Refusal):
        check_origin([*origin("http://localhost"), (b"origin", b"https://evil")], rules())


def test_s24_a_cross_site_request_without_origin_is_refused() -> None:
    with pytest.raises(Forbidden):
        check_origin(origin(None, sec_fetch_site="cross-site"), rules())
    for site in ("same-origin", "same-site", "none"):
        assert check_origin(origin(None, sec_fetch_site=site), rules()) == {}
    assert check_origin(origin("http://localhost:3000", sec_fetch_site="cross-site"), rules())


@pytest.mark.parametrize(
    ("pattern", "matching", "foreign"),
    [
        ("https://ui.example.com", ["https://ui.example.com"], ["https://ui.example.com:1", "https://ui.example.com.evil"]),
        ("https://ui.example.com:*", ["https://ui.example.com:8443"], ["https://ui.example.com", "https://ui.example.com:x"]),
        ("https://*.example.com", ["https://a.example.com", "https://a.b.example.com"], ["https://a.example.com.evil", "https://evil/.example.com"]),
        ("http://192.168.1.*", ["http://192.168.1.7"], ["http://192.168.1.7:80", "http://192.168.1.7/x"]),
        ("chrome-extension://*", ["chrome-extension://abc"], ["moz-extension://abc"]),
    ],
)  # fmt: skip
def test_s24_configured_origins_match_whole(pattern: str, matching: list[str], foreign: list[str]) -> None:
    allowed = rules(allowed_origins=(f" {pattern} ",))
    for value in matching:
        assert check_origin(origin(value), allowed)["Access-Control-Allow-Origin"] == value
    for value in foreign:
        with pytest.raises(Forbidden):
            check_origin(origin(value), allowed)


def test_s24_a_star_allows_every_page_without_reflecting_it() -> None:
    assert check_origin(origin("https://evil"), rules(allowed_origins=("*",))) == {"Access-Control-Allow-Origin": "*"}


# ---------------------------------------------------------------- S25


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_manage(peer: str) -> None:
    assert is_loopback(peer)
    for mutations in ("local", "keys", "any"):
        check_management(peer, rules(mutations=mutations))


@pytest.mark.parametrize("peer", ["192.168.1.7", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1", None, "", "localhost"])
def test_s25_another_machine_may_not_unless_the_owner_says_so(peer: str | None) -> None:
    assert not is_loopback(peer)
    check_management(peer, rules(mutations="any"))
    for mutations in ("local", "keys"):
        with pytest.raises(Forbidden, match="mutations: any"):
            check_management(peer, rules(mutations=mutations))


# ---------------------------------------------------------------- over the application


def test_s23_the_guard_stands_before_every_path_also_unknown_ones(rig: Rig) -> None:
    for path in ("/", "/api/tags", "/nope", "/metrics", "/v1/models"):
        assert rig.get(path, host="evil.com").status_code == 403
        assert rig.get(path, host="localhost@evil").status_code == 403
    told = rig.get("/v1/models", host="evil.com").json()["error"]
    assert told["type"] == "api_error"
    assert "allowed_hosts" in told["message"]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_s24_a_foreign_page_can_neither_ask_nor_delete(rig: Rig, content_type: str) -> None:
    body = {"model": "demo"}
    for method, path in (("POST", "/api/generate"), ("POST", "/api/pull"), ("DELETE", "/api/delete")):
        answer = rig.ask(method, path, body, origin="https://evil", content_type=content_type)
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    assert rig.library.find("demo")


def test_s24_curl_without_origin_works_with_its_form_type(rig: Rig) -> None:
    assert rig.post("/api/show", {"model": "demo"}, content_type="application/x-www-form-urlencoded").status_code == 200


def test_s24_a_preflight_is_answered_with_what_the_contract_lists(rig: Rig) -> None:
    answer = rig.ask("OPTIONS", "/api/chat", origin="http://localhost:3000", access_control_request_method="POST")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert answer.headers["access-control-max-age"] == "43200"
    assert "DELETE" in answer.headers["access-control-allow-methods"].split(",")
    allowed = answer.headers["access-control-allow-headers"].split(",")
    assert {"Authorization", "Content-Type", "x-stainless-retry-count"} <= set(allowed)
    assert rig.ask("OPTIONS", "/api/chat", origin="https://evil").status_code == 403


def test_s24_an_allowed_page_is_named_in_answers_and_in_errors(rig: Rig) -> None:
    for path, status in (("/api/tags", 200), ("/nope", 404), ("/api/chat", 405)):
        answer = rig.get(path, origin="http://localhost:3000")
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
        assert answer.headers["vary"] == "Origin"


def test_s25_managing_from_another_machine_is_refused_and_inference_is_not(rig: Rig) -> None:
    for method, path in (
        ("POST", "/api/pull"),
        ("DELETE", "/api/delete"),
        ("POST", "/api/copy"),
        ("POST", "/api/create"),
    ):
        answer = rig.ask(method, path, {"model": "nope"}, peer="10.0.0.9")
        assert answer.status_code == 403
        assert "mutations: any" in answer.json()["error"]
    assert rig.ask("POST", "/api/show", {"model": "demo"}, peer="10.0.0.9").status_code == 200
    opened = rig.app(mutations="any")
    assert rig.ask("DELETE", "/api/delete", {"model": "nope"}, peer="10.0.0.9", app=opened).status_code == 404


def test_the_control_socket_asks_for_none_of_it(rig: Rig) -> None:
    answer = rig.ask("GET", "/api/tags", app=rig.socket, host="powerd", origin="https://evil")
    assert answer.status_code == 200
    assert rig.ask("DELETE", "/api/delete", {"model": "nope"}, app=rig.socket, peer="").status_code == 404
