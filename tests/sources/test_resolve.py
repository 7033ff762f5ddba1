"""Which places a name is looked for in, and what a failure says of each."""

from __future__ import annotations

import asyncio

import pytest

from powerd.digest import Digest
from powerd.errors import BadRequest, Forbidden, NotFound, PowerError, SourceFailed
from powerd.sources.hub.model import HubConfig, HubFile, HubFiles
from powerd.sources.registry.pull import Pulled
from powerd.sources.resolve import Resolution, Route, first, resolve_name, routes
from powerd.sources.transport.origin import Origin
from powerd.sources.transport.outbound import Outbound
from powerd.store.manifest import CONFIG_TYPE, Layer

D = Digest("d" * 64)
FILES = HubFiles("o/r", "c" * 40, (HubFile("https://x/f", "f", 1, D),), None, "", Origin("https", "x", 443))
PULLED = Pulled(b"{}", D, Layer(CONFIG_TYPE, D, 1), (), D)


def shown(text: str, *, declared: bool = False) -> list[str]:
    return [f"{way.name.full} at its registry" if way.name else str(way) for way in routes(text, declared=declared)]


@pytest.mark.parametrize(
    ("text", "declared", "expected"),
    [
        ("nobody", False, ["registry.ollama.ai/library/nobody:latest at its registry"]),
        (
            "llama3.2:3b",
            False,
            [
                "registry.ollama.ai/library/llama3.2:3b at its registry",
                "hf://bartowski/Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf (of the built-in list)",
            ],
        ),
        (
            "org/Repo-GGUF:Q8_0",
            True,
            ["registry.ollama.ai/org/Repo-GGUF:Q8_0 at its registry", "hf.co/org/Repo-GGUF:Q8_0"],
        ),
        ("registry.ollama.ai/library/llama3.2", False, ["registry.ollama.ai/library/llama3.2:latest at its registry"]),
        ("library/nobody", False, ["registry.ollama.ai/library/nobody:latest at its registry"]),
        ("localhost:5000/ns/m:v1", False, ["localhost:5000/ns/m:v1 at its registry"]),
        ("http://localhost:5000/ns/m:v1", True, ["localhost:5000/ns/m:v1 at its registry"]),
        ("hf.co/o/r:Q8_0", False, ["hf.co/o/r:Q8_0 at its registry", "hf.co/o/r:Q8_0"]),
        ("hf.co/o/r:Q8_0", True, ["hf.co/o/r:Q8_0"]),
        ("hf.co/o/" + "r" * 90, False, ["hf.co/o/" + "r" * 90]),
        ("hf.co/o/r@v1", False, ["hf.co/o/r@v1"]),
        ("hf://o/r/a.gguf", False, ["hf://o/r/a.gguf"]),
        ("https://huggingface.co/o/r/blob/main/a.gguf", False, ["hf://o/r@main/a.gguf"]),
    ],
)
def test_the_places_a_name_is_looked_for_in(text: str, declared: bool, expected: list[str]) -> None:
    assert shown(text, declared=declared) == expected


@pytest.mark.parametrize("text", ["", "../x", "a//b", "a b", "hf.co/../x", "x:y:z", "\u043bama"])
def test_n01_n02_what_is_no_name_is_looked_for_nowhere(text: str) -> None:
    with pytest.raises(BadRequest):
        routes(text)


def ask(text: str, *answers: Pulled | HubFiles | PowerError) -> tuple[Resolution, list[Route]]:
    asked: list[Route] = []
    left = list(answers)

    async def one(route: Route) -> Pulled | HubFiles:
        asked.append(route)
        answer = left.pop(0)
        if isinstance(answer, PowerError):
            raise answer
        return answer

    return asyncio.run(first(text, routes(text), one)), asked


ABSENT = SourceFailed("pull model manifest: file does not exist")


def test_the_first_place_that_has_it_is_used_and_no_other_is_asked() -> None:
    found, asked = ask("llama3.2:3b", PULLED)
    assert found == Resolution(asked[0], PULLED, ()) and asked[0].place == "registry"


def test_the_answer_says_which_was_used_and_why_the_earlier_ones_failed() -> None:
    found, asked = ask("llama3.2:3b", ABSENT, FILES)
    assert found == Resolution(asked[1], FILES, ("pull model manifest: file does not exist",))
    assert asked[1].place == "list"
    found, _ = ask("o/r", NotFound("no such model"), FILES)
    assert (found.route.place, found.failed) == ("hub", ("no such model",))


def test_found_nowhere_begins_with_what_ollama_says_and_names_every_place() -> None:
    with pytest.raises(SourceFailed) as caught:
        ask("o/r", ABSENT, SourceFailed("there is no such repository"))
    assert caught.value.message == (
        "pull model manifest: file does not exist; and neither was o/r found elsewhere: hf.co/o/r: there is no such "
        "repository"
    )
    with pytest.raises(SourceFailed, match=r"^pull model manifest: file does not exist$"):
        ask("nobody", ABSENT)


@pytest.mark.parametrize("error", [Forbidden("registry host not allowed"), BadRequest("2 files are Q8_0")])
def test_what_is_refused_or_badly_asked_is_not_asked_elsewhere(error: PowerError) -> None:
    with pytest.raises(type(error)):
        ask("o/r", error, FILES)


def test_the_real_places_are_asked_in_that_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def look(name: object, *_: object, **more: object) -> Pulled:
        asked.append(f"registry {name} insecure={more['insecure']} trusted={more['trusted']}")
        raise ABSENT

    async def resolve(reference: object, *_: object, **more: object) -> HubFiles:
        asked.append(f"hub {reference} {more['quantization']}")
        return FILES

    monkeypatch.setattr("powerd.sources.resolve.look", look)
    monkeypatch.setattr("powerd.sources.resolve.huggingface.resolve", resolve)

    async def run() -> Resolution:
        async with Outbound() as outbound:
            return await resolve_name("o/r", outbound, HubConfig(), quantization="Q8_0", trusted=False)

    assert asyncio.run(run()).found == FILES
    assert asked == ["registry o/r:latest insecure=False trusted=False", "hub hf.co/o/r Q8_0"]
