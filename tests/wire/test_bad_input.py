"""Bad input through the real server and engine: a clear 4xx or message, nothing lost, nothing hanging, no 500."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.gguf_maker import tiny
from tests.wire.powerd_process import Powerd

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    with Powerd(tmp_path_factory.mktemp("powerd"), models="models:\n  demo: {source: 'builtin:demo'}\n") as running:
        running.wait("Fits", "demo")
        yield running
        assert "Traceback" not in running.log()
        assert running.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "missing request body"),
        (b'{"model": "demo", "messages": [', "JSON"),
        (b"[]", ""),
        (b'{"model": "demo", "options": {"temperature": NaN}}', ""),
        (b'{"model": "demo", "options": {"temperature": 1e999}}', ""),
        (b'{"model": "demo", "options": {"seed": ' + b"9" * 5000 + b"}}", ""),
        (b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
        (b'{"model": "demo", "model": "demo"}', ""),
        (b'{"model": "demo", "messages": [{"role": "user", "content": "\\ud800"}]}', ""),
        (b'{"model": "demo", "messages": [{"role": "user", "content": "\xff"}]}', ""),
        (b'{"model": "demo", "messages": "hi"}', "messages"),
        (b'{"model": "../etc", "messages": []}', "invalid model name"),
        (
            json.dumps({**CHAT, "options": {"temperature": "hot"}}).encode(),
            'option "temperature" must be of type float32',
        ),
        (json.dumps({**CHAT, "options": {"top_k": -7}}).encode(), 'option "top_k" must be between'),
        (json.dumps({**CHAT, "options": {"num_ctx": 0}}).encode(), 'option "num_ctx" must be between'),
        (json.dumps({**CHAT, "keep_alive": "10"}).encode(), "missing unit in duration"),
        (json.dumps({**CHAT, "format": "xml"}).encode(), "invalid format"),
        (json.dumps({**CHAT, "think": "hard"}).encode(), 'invalid think value: "hard"'),
        (json.dumps({**CHAT, "tools": [{"type": "function"}]}).encode(), "tools[0].function.name"),
    ],
    ids=range(19),
)
def test_h01_to_h12_bad_bodies_are_400(powerd: Powerd, body: bytes, said: str) -> None:
    answer = powerd.post("/api/chat", body)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]


def test_h16_a_prompt_that_does_not_fit_names_both_numbers_and_where_the_limit_comes_from(powerd: Powerd) -> None:
    long = "word " * 3000
    asked = {"model": "demo", "messages": [{"role": "user", "content": long}], "truncate": False}
    native = powerd.post("/api/chat", asked)
    other = powerd.post("/v1/chat/completions", asked)
    for answer, text in ((native, native.json()["error"]), (other, other.json()["error"]["message"])):
        assert answer.status_code == 400
        assert "tokens) exceeds the available context size (1024 tokens)" in text
        assert "the context the model was trained for" in text


@pytest.mark.parametrize("truncate", [True, False])
def test_h16_fifty_megabytes_of_prompt_are_cut_or_refused_quickly_while_others_are_served(
    powerd: Powerd, truncate: bool
) -> None:
    started = time.monotonic()
    asked = {"model": "demo", "raw": True, "prompt": "word " * 10_000_000, "stream": False}
    answer = powerd.post("/api/generate", {**asked, "truncate": truncate, "options": {"num_predict": 3}})
    assert answer.status_code == (200 if truncate else 400)
    assert ("x-powerd-truncated" in answer.headers) == truncate
    assert time.monotonic() - started < 20
    assert powerd.post("/api/generate", {"model": "demo", "prompt": "What is 2 + 3?", "stream": False}).is_success


def test_h08_a_body_over_the_limit_is_413(powerd: Powerd) -> None:
    assert powerd.post("/api/show", b'{"model": "' + b"x" * (2 << 20) + b'"}').status_code == 413


def test_h24_unknown_paths_and_methods(powerd: Powerd) -> None:
    assert powerd.get("/nope").text == "404 page not found"
    answer = httpx.get(powerd.url + "/api/chat")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_s23_a_foreign_host_and_s24_a_foreign_origin_are_403(powerd: Powerd) -> None:
    assert powerd.post("/api/chat", CHAT, Host="evil.com").status_code == 403
    assert powerd.post("/api/chat", CHAT, Origin="https://evil.com").status_code == 403
    assert powerd.post("/api/show", {"model": "demo"}, Origin="http://localhost:3000").status_code == 200


def test_h19_a_connection_that_never_finishes_its_header_is_closed(powerd: Powerd) -> None:
    host, _, port = powerd.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        slow.settimeout(15)
        assert slow.recv(100) == b"" or b"408" in slow.recv(100)


def test_files_that_are_no_models_say_what_they_look_like(tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<!DOCTYPE html><html>")
    (tmp_path / "archive.gguf").write_bytes(b"PK\x03\x04" + bytes(100))
    (tmp_path / "half.gguf").write_bytes(tiny(tmp_path / "whole.gguf").read_bytes()[:5000])
    os.mkfifo(tmp_path / "fifo.gguf")
    (tmp_path / "dark.gguf").symlink_to("nowhere")
    names = ("page", "archive", "half", "fifo", "dark")
    models = "models:\n" + "".join(f"  {name}: {{source: ./{name}.gguf}}\n" for name in names)
    with Powerd(tmp_path, models=models) as powerd:
        assert powerd.powerctl("apply", "--wait").returncode == 1
        said = {
            name: next(item["message"] for item in powerd.model(name)["conditions"] if item["status"] == "False")
            for name in names
        }
        assert "looks like HTML" in said["page"]
        assert "zip" in said["archive"].lower()
        assert "half.gguf" in said["half"]
        assert "regular file" in said["fifo"]
        assert "dark.gguf" in said["dark"]
        assert powerd.get("/livez").status_code == 200
        assert list((tmp_path / "state/models/blobs").iterdir()) == []


@pytest.mark.root
def test_d01_a_full_disk_is_a_clear_condition_and_space_given_back_is_used_without_a_restart(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        config = f"store: {{path: {disk}}}\n"
        with Powerd(tmp_path, models="models:\n  demo: {source: 'builtin:demo'}\n", config=config) as powerd:
            assert powerd.powerctl("apply", "--wait").returncode == 1
            fetched = powerd.condition("Fetched", "demo")
            assert (fetched["status"], fetched["reason"]) == ("False", "DiskFull")
            assert "need" in fetched["message"]
            assert powerd.post("/api/chat", CHAT).status_code == 503
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            powerd.wait("Fits", "demo")
            assert powerd.post("/api/chat", {**CHAT, "stream": False}).is_success
            powerd.signal(signal.SIGTERM)
            powerd.wait_exit()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
