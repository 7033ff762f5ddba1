"""Digest: the only way to a blob's path (reliability S01, N07, N08)."""

from __future__ import annotations

import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.digest import Digest

HEX = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha256-{HEX}", f"sha256:{HEX.upper()}", f"sha256-{HEX.title()}"])
def test_n08_every_spelling_is_the_same_digest(text: str) -> None:
    digest = Digest.parse(text)
    assert digest == Digest.of(b"x")
    assert (digest.hex, str(digest), digest.blob_name) == (HEX, f"sha256:{HEX}", f"sha256-{HEX}")
    assert digest.short == HEX[:12]


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        "../../../../tmp/x",
        "sha256:../../x",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX}\n",
        f" sha256:{HEX}",
        f"sha256:{HEX[:-1]}\n",
        f"sha256:{HEX[:-2]}\n\n",
        f"sha512:{HEX}",
        f"SHA256:{HEX}",
        f"sha256_{HEX}",
        f"sha256:{HEX[:-1]}g",
        "sha256:" + "\uff11" * 64,
        "sha256:" + "\u0661" * 64,
        f"sha256:{HEX[:-1]}\0",
        "sha256:" + "/" * 64,
        "x" * 2**20,
        None,
        12,
        HEX.encode(),
        [f"sha256:{HEX}"],
    ],
)
def test_s01_n07_everything_else_is_refused_without_an_echo(text: object) -> None:
    with pytest.raises(ValueError, match=r"^invalid digest$"):
        Digest.parse(text)


@given(st.text(max_size=80) | st.text(alphabet=string.hexdigits + ":-sha/.", min_size=65, max_size=75))
def test_whatever_parses_names_a_plain_file(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except ValueError:
        return
    assert set(digest.hex) <= set("0123456789abcdef")
    assert len(digest.hex) == 64
    assert digest.blob_name == "sha256-" + text[7:].lower()


@given(st.binary(max_size=100))
def test_a_digest_survives_being_written_and_read(data: bytes) -> None:
    digest = Digest.of(data)
    assert Digest.parse(str(digest)) == Digest.parse(digest.blob_name) == digest
    assert digest.hex == hashlib.sha256(data).hexdigest()
