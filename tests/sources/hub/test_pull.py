"""Hugging Face repositories through the real huggingface_hub, against a scripted hub (reliability R19 and S09)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from powerd.digest import Digest
from powerd.errors import BadRequest, Forbidden, PowerError, SourceFailed
from powerd.sources.hub import guard
from powerd.sources.hub.model import HubConfig, HubFiles
from powerd.sources.hub.pull import resolve
from powerd.sources.remote import read_remote_header
from powerd.sources.transport.outbound import Outbound, OutboundConfig, Patience
from tests.sources.hub.server import COMMIT, EARLIER, Hub, Repo, _Handler
from tests.sources.lab import certificates

DEMO = Path(__file__).parents[3] / "powerd" / "demo" / "tiny-chat-q8_0.gguf"
QUICK = OutboundConfig(patience=Patience(tries=3, pause=0.01, longest_pause=0.02))
GGUF = b"GGUF and the rest"


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No login of the person who runs the tests, and no connection left over."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_OIDC_RESOURCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    yield
    huggingface_hub.close_session()


def found(hub: Hub, source: str, *, token_file: Path | None = None, **more: str) -> HubFiles:
    async def run() -> HubFiles:
        async with Outbound(QUICK) as outbound:
            return await resolve(source, outbound, HubConfig(hub.endpoint, token_file), **more)

    return asyncio.run(run())


def refusal(hub: Hub, source: str, **more: Any) -> str:
    with pytest.raises(SourceFailed) as caught:
        found(hub, source, **more)
    return caught.value.message


def token_file(directory: Path, token: str = "hf_member") -> Path:
    path = directory / "hub-token"
    path.write_text(token + "\n")
    return path


def chat() -> Repo:
    return Repo(
        {
            "README.md": b"# A model",
            "chat-Q4_K_M.gguf": GGUF + b"4",
            "chat-Q8_0.gguf": GGUF + b"8",
            "mmproj-F16.gguf": GGUF + b"m",
        },
        small={"README.md"},
        revisions={"v1": EARLIER, EARLIER: EARLIER},
    )


# ------------------------------------------------------------ what is found


def test_the_files_of_a_quantization_at_the_commit_with_their_digests_and_the_projector() -> None:
    with Hub(org__chat=chat()) as hub:
        files = found(hub, "hf.co/org/chat:Q8_0")
    (weights,) = files.files
    assert weights.url == f"{hub.endpoint}/org/chat/resolve/{COMMIT}/chat-Q8_0.gguf"
    assert (weights.name, weights.size) == ("chat-Q8_0.gguf", len(GGUF) + 1)
    assert weights.digest == Digest.of(GGUF + b"8")
    assert (files.repo, files.revision, files.quantization) == ("org/chat", COMMIT, "Q8_0")
    assert files.projector is not None and files.projector.digest == Digest.of(GGUF + b"m")
    assert {each.where for each in hub.asked} == {"hub"}, "nothing is fetched to resolve"
    assert {each.encoding for each in hub.asked} == {"identity"}


def test_the_default_is_q4_k_m_and_the_declared_quantization_comes_before_it() -> None:
    with Hub(org__chat=chat()) as hub:
        assert found(hub, "https://huggingface.co/org/chat").files[0].name == "chat-Q4_K_M.gguf"
        assert found(hub, "hf.co/org/chat", quantization="q8_0").files[0].name == "chat-Q8_0.gguf"
        named = found(hub, "hf://org/chat/chat-Q8_0.gguf", quantization="Q4_K_M")
        assert named.files[0].name == "chat-Q8_0.gguf", "a named file is the one; quantization is what to make of it"


def test_a_revision_is_pinned_to_its_commit_and_a_given_commit_goes_before_it() -> None:
    with Hub(org__chat=chat()) as hub:
        assert found(hub, "hf.co/org/chat@v1").revision == EARLIER
        pinned = found(hub, "hf.co/org/chat", revision=EARLIER)
        assert pinned.revision == EARLIER and f"/resolve/{EARLIER}/" in pinned.files[0].url


def test_every_part_of_a_split_model_in_order() -> None:
    parts = {f"big/big-Q4_K_M-{n:05d}-of-00003.gguf": GGUF + bytes([n]) for n in (3, 1, 2)}
    with Hub(org__big=Repo(parts)) as hub:
        files = found(hub, "hf.co/org/big:Q4_K_M")
    assert [file.name[-19:] for file in files.files] == [f"{n:05d}-of-00003.gguf"[-19:] for n in (1, 2, 3)]
    assert [file.digest for file in files.files] == [Digest.of(GGUF + bytes([n])) for n in (1, 2, 3)]


def test_a_small_file_in_git_itself_has_a_size_and_no_digest() -> None:
    with Hub(org__tiny=Repo({"tiny-F16.gguf": GGUF}, small={"tiny-F16.gguf"})) as hub:
        (weights,) = found(hub, "hf.co/org/tiny").files
    assert (weights.size, weights.digest) == (len(GGUF), None)


def test_a_renamed_repository_is_followed_on_the_same_host() -> None:
    def renamed(handler: _Handler) -> bool:
        if "/old/" in handler.path:
            handler.answer(307, b"", {"Location": handler.path.replace("/old/", "/org/")})
            return True
        return False

    with Hub(org__chat=chat()) as hub:
        hub.trick = renamed
        assert found(hub, "hf.co/old/chat").files[0].digest == Digest.of(GGUF + b"4")


def test_r19_several_matches_are_an_error_that_lists_them() -> None:
    repo = Repo({"a-Q8_0.gguf": GGUF, "b-Q8_0.gguf": GGUF})
    with Hub(org__two=repo) as hub, pytest.raises(BadRequest, match=r"2 files are Q8_0: a-Q8_0\.gguf, b-Q8_0\.gguf"):
        found(hub, "hf.co/org/two:Q8_0")


# ------------------------------------------------------------ who we are


def test_r19_the_token_goes_to_the_hub_and_never_to_the_storage_host(tmp_path: Path) -> None:
    repo = Repo({"gated-Q8_0.gguf": DEMO.read_bytes()}, gated=True)
    with Hub(org__gated=repo) as hub:

        async def run() -> str:
            async with Outbound(QUICK) as outbound:
                files = await resolve("hf.co/org/gated", outbound, HubConfig(hub.endpoint, token_file(tmp_path)))
                assert "hf_member" not in repr(files)
                header = await read_remote_header(files.location(files.files[0], outbound), outbound)
                return header.architecture

        assert asyncio.run(run()) == "llama"
    assert {each.token for each in hub.asked if each.where == "hub"} == {"hf_member"}
    assert {each.token for each in hub.asked if each.where == "storage"} == {""}


def test_r19_a_hub_that_sends_us_elsewhere_is_not_followed_with_the_token(tmp_path: Path) -> None:
    def elsewhere(handler: _Handler) -> bool:
        if handler.server.role == "hub":
            handler.answer(307, b"", {"Location": f"{handler.server.hub.storage}{handler.path}"})
            return True
        return False

    with Hub(org__chat=chat()) as hub:
        hub.trick = elsewhere
        message = refusal(hub, "hf.co/org/chat", token_file=token_file(tmp_path))
    assert "sent us on to '127.0.0.1'" in message
    assert [each.where for each in hub.asked] == ["hub"]


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", ["is gated: accept its terms at http", "/org/gated", "/settings/tokens", "HF_TOKEN", "token_file"]),
        ("hf_stranger", ["is gated: the account of the token from", "hub-token has no access", "/org/gated"]),
    ],
)
def test_r19_a_gated_repository_says_what_to_do(tmp_path: Path, token: str, words: list[str]) -> None:
    with Hub(org__gated=Repo({"m-Q8_0.gguf": GGUF}, gated=True)) as hub:
        message = refusal(hub, "hf.co/org/gated", token_file=token_file(tmp_path, token) if token else None)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "there is no such repository, or it is private: check the name; a private one needs a token"),
        ("hf_stranger", "there is no such repository, or the token may not see it"),
        ("hf_wrong", "the hub does not accept the token from"),
    ],
)
def test_r10_what_is_not_there_and_what_may_not_be_seen(tmp_path: Path, token: str, words: str) -> None:
    with Hub(org__hidden=Repo({"m-Q8_0.gguf": GGUF}, private=True)) as hub:
        for source in ("hf.co/org/hidden", "hf.co/org/absent"):
            message = refusal(hub, source, token_file=token_file(tmp_path, token) if token else None)
            assert words in message and source in message, message


def test_a_private_repository_opens_to_its_token(tmp_path: Path) -> None:
    with Hub(org__hidden=Repo({"m-Q8_0.gguf": GGUF}, private=True)) as hub:
        assert found(hub, "hf.co/org/hidden", token_file=token_file(tmp_path)).files[0].digest == Digest.of(GGUF)


@pytest.mark.parametrize(("text", "words"), [("a b", "holds no token"), ("ü", "holds no token"), (None, "cannot be")])
def test_a_token_file_that_is_none_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    with Hub(org__chat=chat()) as hub:
        path = tmp_path / "absent" if text is None else token_file(tmp_path, text)
        message = refusal(hub, "hf.co/org/chat", token_file=path)
    assert words in message and str(path) in message and not hub.asked


# ------------------------------------------------------------ R19 and S09: what a hub may do to us


def test_r19_a_revision_that_vanished() -> None:
    with Hub(org__chat=chat()) as hub:
        message = refusal(hub, f"hf.co/org/chat@{'d' * 40}")
    assert "has no such revision: it never had, or its history was rewritten" in message and "d" * 40 in message


def test_r19_a_repository_of_a_hundred_thousand_files_is_not_listed_whole() -> None:
    many = [{"rfilename": f"data/{n:06d}-{'x' * 140}.bin", "size": n} for n in range(100_000)]
    with Hub(org__many=Repo({"m-Q8_0.gguf": GGUF}, extra=many)) as hub:
        assert "longer than 16 MiB: the repository has too many files" in refusal(hub, "hf.co/org/many")
    assert len(hub.asked) == 1


def test_r19_ten_thousand_files_are_no_trouble() -> None:
    many = [{"rfilename": f"data/{n:06d}.bin", "size": n, "blobId": "a" * 40} for n in range(10_000)]
    with Hub(org__many=Repo({"m-Q8_0.gguf": GGUF}, extra=many)) as hub:
        assert found(hub, "hf.co/org/many").files[0].digest == Digest.of(GGUF)


def test_s09_names_with_tricks_are_as_good_as_absent() -> None:
    tricks = [
        "../../x-Q4_K_M.gguf",
        "..\\..\\x-Q4_K_M.gguf",
        "/etc/x-Q4_K_M.gguf",
        "a/\u202ex-Q4_K_M.gguf",
        "CON.gguf",
        f"{'x' * 290}-Q4_K_M.gguf",
        "x\0-Q4_K_M.gguf",
        "a//x-Q4_K_M.gguf",
        "./x-Q4_K_M.gguf",
    ]
    repo = Repo({"good-Q8_0.gguf": GGUF}, extra=[{"rfilename": each, "size": 1} for each in tricks])
    with Hub(org__tricky=repo) as hub:
        assert found(hub, "hf.co/org/tricky").files[0].name == "good-Q8_0.gguf"
        with pytest.raises(BadRequest) as caught:
            found(hub, "hf.co/org/tricky:Q4_K_M")
    assert "there is good-Q8_0.gguf." in caught.value.message


def test_r19_a_pointer_instead_of_the_file_is_recognised() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 4000000000\n"
    with Hub(org__bare=Repo({"m-Q8_0.gguf": pointer}, small={"m-Q8_0.gguf"})) as hub:

        async def run() -> None:
            async with Outbound(QUICK) as outbound:
                files = await resolve("hf.co/org/bare", outbound, HubConfig(hub.endpoint))
                await read_remote_header(files.location(files.files[0], outbound), outbound)

        with pytest.raises(SourceFailed, match="looks like a Git LFS pointer"):
            asyncio.run(run())


@pytest.mark.parametrize("status", [401, 403])
def test_r19_a_refusal_in_html_is_not_repeated(status: int) -> None:
    page = b"<!doctype html><title>sign in</title>" + b"<script>" * 1000

    def html(handler: _Handler) -> bool:
        handler.answer(status, page, {"Content-Type": "text/html"})
        return True

    with Hub(org__chat=chat()) as hub:
        hub.trick = html
        message = refusal(hub, "hf.co/org/chat")
    assert "HF_TOKEN" in message and "<" not in message and len(message) < 500


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "cannot be understood"),
        (b"[]", "cannot be understood"),
        (b"{}", "cannot be understood"),
        (b'{"id": "x", "siblings": [{}]}', "cannot be understood"),
        (b'{"id": "x", "siblings": []}', "names no commit"),
        (b'{"id": "x", "sha": "../../x", "siblings": []}', "names no commit"),
        (b"[" * 100_000, "cannot be understood"),
    ],
)
def test_s11_an_answer_that_is_nonsense(body: bytes, words: str) -> None:
    def nonsense(handler: _Handler) -> bool:
        handler.answer(200, body, {"Content-Type": "application/json"})
        return True

    with Hub() as hub:
        hub.trick = nonsense
        assert words in refusal(hub, "hf.co/org/chat")


def test_r15_a_hub_that_lists_one_digest_and_serves_another() -> None:
    repo = Repo({"m-Q8_0.gguf": GGUF})
    lfs = {"sha256": "b" * 64, "size": len(GGUF), "pointerSize": 1}
    repo.siblings = lambda: [{"rfilename": "m-Q8_0.gguf", "size": len(GGUF), "lfs": lfs}]  # type: ignore[method-assign]
    with Hub(org__two=repo) as hub:
        assert "the hub lists m-Q8_0.gguf as sha256:bbbb" in refusal(hub, "hf.co/org/two")


def test_s12_a_compressed_answer_is_refused() -> None:
    def packed(handler: _Handler) -> bool:
        handler.answer(200, b"\x1f\x8b", {"Content-Encoding": "gzip"})
        return True

    with Hub() as hub:
        hub.trick = packed
        assert "unexpected Content-Encoding 'gzip'" in refusal(hub, "hf.co/org/chat")


def test_r10_a_hub_that_is_busy_is_asked_again_and_named_in_the_end() -> None:
    def busy(handler: _Handler) -> bool:
        if len(handler.server.hub.asked) <= failures:
            handler.refuse(503)
            return True
        return False

    with Hub(org__chat=chat()) as hub:
        hub.trick, failures = busy, 2
        assert found(hub, "hf.co/org/chat").files
        hub.asked.clear()
        failures = 99
        message = refusal(hub, "hf.co/org/chat")
    assert message == "hf.co/org/chat: the server answered 503 Service Unavailable; gave up after 3 tries"
    assert len(hub.asked) == 3


def test_r11_a_hub_that_drips_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def drips(handler: _Handler) -> bool:
        handler.drip(100, 0.02)
        return True

    monkeypatch.setattr(guard, "SECONDS", 0.1)
    with Hub() as hub:
        hub.trick = drips
        assert "took too long" in refusal(hub, "hf.co/org/chat")


def test_r14_a_hub_that_is_not_there() -> None:
    with Hub() as hub:
        endpoint = hub.endpoint

    async def run(endpoint: str) -> None:
        async with Outbound(QUICK) as outbound:
            await resolve("hf.co/org/chat", outbound, HubConfig(endpoint))

    with pytest.raises(SourceFailed, match=r"cannot be reached: .*gave up after 3 tries"):
        asyncio.run(run(endpoint))
    with pytest.raises(SourceFailed, match="is no http or https URL"):
        asyncio.run(run("ftp://hub"))
    with pytest.raises(Forbidden, match="metadata"):
        asyncio.run(run("http://169.254.169.254"))


def test_r14_a_hub_with_a_certificate_of_ones_own_authority(tmp_path: Path) -> None:
    authority = certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "srv.crt", tmp_path / "srv.key")

    async def run(hub: Hub, ca: Path | None) -> HubFiles:
        async with Outbound(replace(QUICK, ca=ca)) as outbound:
            return await resolve("hf.co/org/chat", outbound, HubConfig(hub.endpoint))

    with Hub(tls=context, org__chat=chat()) as hub:
        with pytest.raises(SourceFailed, match="is not trusted: unable to get local issuer certificate"):
            asyncio.run(run(hub, None))
        huggingface_hub.close_session()
        assert asyncio.run(run(hub, authority)).files[0].url.startswith("https://127.0.0.1:")


def test_offline_asks_nobody() -> None:
    async def run(hub: Hub) -> None:
        async with Outbound(OutboundConfig(offline=True)) as outbound:
            await resolve("hf.co/org/chat", outbound, HubConfig(hub.endpoint))

    with Hub(org__chat=chat()) as hub, pytest.raises(Forbidden, match="offline: true"):
        asyncio.run(run(hub))
    assert not hub.asked


# ------------------------------------------------------------ the environment

_ASK = """
import asyncio, sys
from powerd.sources.hub.model import HubConfig
from powerd.sources.hub.pull import resolve
from powerd.sources.transport.outbound import Outbound
assert "huggingface_hub" not in sys.modules, "imported before it is needed"
async def main():
    async with Outbound() as outbound:
        print((await resolve("hf.co/org/hidden", outbound, HubConfig())).files[0].digest)
asyncio.run(main())
"""


def test_hf_endpoint_hf_token_and_hf_home_are_honoured_and_nothing_else_is_asked(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("hf_member")
    with Hub(org__hidden=Repo({"m-Q8_0.gguf": GGUF}, private=True)) as hub:
        for variables in ({"HF_TOKEN": "hf_member"}, {"HF_HOME": str(tmp_path / "home")}):
            environ = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
            environ |= {"HF_ENDPOINT": hub.endpoint, "HOME": str(tmp_path), "AI_AGENT": "x"} | variables
            run = subprocess.run(
                [sys.executable, "-c", _ASK], check=False, env=environ, capture_output=True, text=True, timeout=30
            )
            assert run.stdout.strip() == f"sha256:{hashlib.sha256(GGUF).hexdigest()}", run.stderr
    assert {each.token for each in hub.asked} == {"hf_member"}
    assert [each.path.split("?")[0] for each in hub.asked] == [
        "/api/models/org/hidden",
        f"/org/hidden/resolve/{COMMIT}/m-Q8_0.gguf",
    ] * 2


def test_every_failure_is_one_a_client_may_meet() -> None:
    with Hub() as hub, pytest.raises(PowerError):
        found(hub, "hf.co/org")
