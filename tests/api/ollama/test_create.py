"""POST /api/create over the real store and library: order of statuses, inheritance, and what is refused."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

from powerd.errors import NotFound
from powerd.names import Name
from tests import gguf_maker
from tests.api.rig import DEMO, EMBED, Rig
from tests.store.crafted import STR, Crafted, pair
from tests.store.crafted import text as crafted_text

MODELS = Path(__file__).parent.parent.parent / "models"
LORA, PROJECTOR = MODELS / "tiny-chat-pirate-lora-f16.gguf", MODELS / "tiny-chat-mmproj-f16.gguf"


@pytest.fixture(autouse=True)
def clean(rig: Rig) -> Iterator[None]:
    """Every test leaves the models it found."""
    before = {row["name"] for row in rig.get("/api/tags").json()["models"]}
    yield
    for row in rig.get("/api/tags").json()["models"]:
        if row["name"] not in before:
            rig.ask("DELETE", "/api/delete", {"model": row["name"]})


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return gguf_maker.full(tmp_path_factory.mktemp("parts") / "full.gguf", part_tensors=8)


def put(rig: Rig, data: bytes | Path) -> str:
    content = data.read_bytes() if isinstance(data, Path) else data
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    assert rig.post(f"/api/blobs/{digest}", content).status_code in {200, 201}
    return digest


def refused(rig: Rig, **body: Any) -> str:
    answer = rig.post("/api/create", {"model": "new", "stream": False, **body})
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"])


def config(rig: Rig, name: str) -> dict[str, object]:
    stored = rig.store.find(Name.parse(name))
    assert stored is not None
    return stored.config


def test_statuses_come_in_ollamas_order(rig: Rig) -> None:
    digest = put(rig, DEMO)
    body = {"model": "new", "files": {"demo.gguf": digest}, "system": "Hi.", "renderer": "r1", "parser": "p1"}
    texts = [line["status"] for line in rig.lines("/api/create", body)]
    system = "sha256:" + hashlib.sha256(b"Hi.").hexdigest()
    assert texts[:5] == [
        "parsing GGUF",
        "validating GGUF model",
        f"using existing layer {digest}",
        f"creating new layer {system}",
        "writing manifest",
    ]
    assert [text.partition(":")[0] for text in texts[5:]] == ["warning", "warning", "success"]
    assert rig.post("/api/create", {**body, "stream": False}).json() == {"status": "success"}


def test_what_is_given_replaces_and_the_rest_is_inherited(rig: Rig) -> None:
    base = {
        "from": "ns/tuned:v1",
        "system": "one",
        "template": "{% if a %}{% endif %}",
        "messages": [{"role": "user", "content": "u"}],
        "renderer": "r1",
        "requires": "v0.14.0",
        "info": {"capabilities": ["tools"], "parameter_size": 7e9, "context_length": 99, "base_name": "b"},
    }
    rig.lines("/api/create", {"model": "first", **base})
    assert config(rig, "first") | {"architecture": "", "os": ""} == {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": ["llama"],
        "model_type": "7B",
        "file_type": "Q8_0",
        "renderer": "r1",
        "requires": "0.14.0",
        "capabilities": ["tools"],
        "context_length": 99,
        "base_name": "b",
        "architecture": "",
        "os": "",
    }
    rig.lines("/api/create", {"model": "second", "from": "first", "system": "two", "parameters": {"stop": ["x"]}})
    assert config(rig, "second") == config(rig, "first")
    shown = rig.post("/api/show", {"model": "second"}).json()
    assert (shown["system"], shown["template"], shown["license"]) == ("two", base["template"], "Do as you like.")
    assert shown["messages"] == base["messages"]
    assert shown["parameters"].split() == ["num_predict", "3", "stop", '"x"']
    assert shown["requires"] == "0.14.0"
    assert shown["details"]["parent_model"] == "first:latest"
    assert "RENDERER r1\n" in shown["modelfile"]


def test_empty_texts_keep_the_bases_and_a_go_template_takes_the_place_of_jinja(rig: Rig) -> None:
    rig.lines("/api/create", {"model": "first", "from": "demo", "system": "one", "template": "{% if a %}{% endif %}"})
    rig.lines("/api/create", {"model": "second", "from": "first", "system": "", "template": "{{ .Prompt }}"})
    stored = rig.store.find(Name.parse("second"))
    assert stored is not None
    assert (stored.system, stored.template, stored.jinja) == ("one", "{{ .Prompt }}", None)
    shown = rig.post("/api/show", {"model": "second"}).json()
    assert "TEMPLATE {{ .Prompt }}\n" in shown["modelfile"]
    assert shown["template"] == "{{ .Prompt }}"  # the weights' own can do more, and the owner's wins all the same
    rig.lines("/api/create", {"model": "third", "from": "second", "system": "three"})
    assert rig.post("/api/show", {"model": "third"}).json()["template"] == "{{ .Prompt }}"


def test_a_declared_model_can_be_the_base_and_not_the_target(rig: Rig, request: pytest.FixtureRequest) -> None:
    rig.declare("mine", system="declared", parameters={"top_p": 0.5})
    request.addfinalizer(rig.withdraw)
    rig.lines("/api/create", {"model": "new", "from": "mine"})
    assert "powerd" not in config(rig, "new")
    assert rig.post("/api/show", {"model": "new"}).json()["system"] == "declared"
    answer = rig.post("/api/create", {"model": "MINE", "from": "demo"})
    assert answer.status_code == 409
    assert "edit the file instead" in answer.json()["error"]


def test_a_missing_base_is_pulled_with_its_statuses_inlined(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def pull(text: str, *, trusted: bool) -> AsyncGenerator[dict[str, object], None]:
        asked.append((text, trusted))
        yield {"status": "pulling manifest"}
        await rig.library.copy("demo", "elsewhere")
        yield {"status": "success"}

    monkeypatch.setattr(rig.library, "pull", pull)
    texts = [line["status"] for line in rig.lines("/api/create", {"model": "new", "from": "elsewhere"})]
    assert [text.partition(" sha256:")[0] for text in texts] == [
        *("pulling manifest", "using existing layer", "writing manifest", "success"),
    ]
    assert asked == [("elsewhere", True)]


def test_a_base_that_no_place_has(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def pull(text: str, *, trusted: bool) -> AsyncGenerator[dict[str, object], None]:
        yield {"status": "pulling manifest"}
        raise NotFound("pull model manifest: file does not exist")

    monkeypatch.setattr(rig.library, "pull", pull)
    error = {"error": "pull model manifest: file does not exist"}
    assert rig.lines("/api/create", {"model": "new", "from": "nowhere"}) == [{"status": "pulling manifest"}, error]
    answer = rig.post("/api/create", {"model": "new", "from": "nowhere", "stream": False})
    assert (answer.status_code, answer.json()) == (404, error)


def test_n10_a_model_made_from_itself_and_over_itself(rig: Rig) -> None:
    rig.lines("/api/create", {"model": "Self", "from": "demo", "system": "one"})
    rig.lines("/api/create", {"model": "self", "from": "SELF", "system": "two"})
    names = [row["name"] for row in rig.get("/api/tags").json()["models"]]
    assert names.count("Self:latest") == 1
    assert rig.post("/api/show", {"model": "self"}).json()["system"] == "two"


def crafted(rig: Rig, architecture: str, template: str = "") -> dict[str, str]:
    """Weights of that architecture, uploaded."""
    made = Crafted()
    made.pairs = {
        key: value.replace(len(key).to_bytes(8, "little") + key.encode(), _renamed(key, architecture))
        for key, value in made.pairs.items()
    }
    made.set("general.architecture", STR, architecture)
    if template:
        made.set("tokenizer.chat_template", STR, template)
    return {"m.gguf": put(rig, made.bytes())}


def _renamed(key: str, architecture: str) -> bytes:
    return crafted_text(key.replace("llama.", f"{architecture}.", 1) if key.startswith("llama.") else key)


@pytest.mark.parametrize(
    ("architecture", "writer", "stops"),
    [
        ("gemma4", "gemma4", ["<turn|>"]),
        ("laguna", "laguna", None),
        ("nemotron_h", "nemotron-3-nano", None),
        ("nemotron_h_moe", "nemotron-3-nano", None),
        ("gemma3", None, None),
    ],
)
def test_some_architectures_get_a_renderer_a_parser_and_stops_unasked(
    rig: Rig, architecture: str, writer: str | None, stops: list[str] | None
) -> None:
    files = crafted(rig, architecture)
    last = rig.lines("/api/create", {"model": "new", "files": files})[-2:]
    assert [line["status"] for line in last] == ["writing manifest", "success"]
    assert [config(rig, "new").get(key) for key in ("renderer", "parser")] == [writer, writer]
    stored = rig.store.find(Name.parse("new"))
    assert stored is not None
    assert stored.params == ({"stop": stops} if stops else {})


def test_what_is_given_or_known_of_the_template_wins_over_the_architecture(rig: Rig) -> None:
    body = {"model": "new", "files": crafted(rig, "gemma4")}
    rig.lines("/api/create", {**body, "parser": "other", "parameters": {"stop": ["x"]}})
    assert [config(rig, "new").get(key) for key in ("renderer", "parser")] == [None, "other"]
    rig.lines("/api/create", {**body, "parameters": {"stop": ["x"], "top_k": 5}})
    stored = rig.store.find(Name.parse("new"))
    assert stored is not None
    assert (stored.config["renderer"], stored.params) == ("gemma4", {"stop": ["x"], "top_k": 5})
    rig.lines("/api/create", {**body, "template": "{{ .Prompt }}"})
    assert "parser" not in config(rig, "new")
    older = crafted(rig, "nemotron_h", "{% if tools %}<TOOLCALL>{% endif %}{{ messages }}")
    rig.lines("/api/create", {"model": "new", "files": older})
    assert "parser" not in config(rig, "new")


# ---------------------------------------------------------------- drafts

DRAFT_WARNING = "warning: the draft model is kept and not used: powerd does not speculate"


def drafts(rig: Rig, name: str) -> list[str]:
    """The DRAFT lines of a model's Modelfile, as digests."""
    lines = rig.post("/api/show", {"model": name}).json()["modelfile"].splitlines()
    return ["sha256:" + line.rpartition("sha256-")[2] for line in lines if line.startswith("DRAFT ")]


def test_a_draft_is_kept_shown_inherited_copied_and_replaced(rig: Rig) -> None:
    demo, embed, lora = (put(rig, path) for path in (DEMO, EMBED, LORA))
    body = {"from": "demo", "draft_files": {"d.gguf": demo}, "adapters": {"l.gguf": lora}}
    texts = [line["status"] for line in rig.lines("/api/create", {"model": "first", **body})]
    assert texts[0] == "parsing GGUF"
    assert (texts[-2].partition(";")[0], texts[-1]) == (DRAFT_WARNING, "success")
    shown = rig.post("/api/show", {"model": "first"}).json()["modelfile"]
    assert shown.index("\nADAPTER ") < shown.index("\nDRAFT ") < shown.index("\nTEMPLATE ")
    texts = [line["status"] for line in rig.lines("/api/create", {"model": "second", "from": "first"})]
    assert not any("draft" in text for text in texts)
    assert rig.post("/api/copy", {"source": "second", "destination": "third"}).status_code == 200
    assert drafts(rig, "first") == drafts(rig, "second") == drafts(rig, "third") == [demo]
    rig.lines("/api/create", {"model": "fourth", "from": "first", "draft_files": {"d.gguf": embed}})
    assert drafts(rig, "fourth") == [embed]


def test_a_draft_is_quantized_when_asked_and_what_is_left_over_goes(rig: Rig, parts: list[Path]) -> None:
    files = {path.name: put(rig, path) for path in parts}
    before = {path.name for path in (rig.store.root / "blobs").iterdir()}
    body = {"model": "first", "from": "demo", "draft_files": files, "draft_quantize": "q4_0"}
    texts = [line["status"] for line in rig.lines("/api/create", body)]
    assert texts.index("quantizing F16 draft model to Q4_0") < texts.index("verifying conversion")
    [made] = drafts(rig, "first")
    new = {path.name for path in (rig.store.root / "blobs").iterdir()} - before
    assert new == {made.replace(":", "-")}  # the joined parts are gone again
    rig.lines("/api/create", {"model": "second", "from": "demo", "draft_files": files})
    rig.lines("/api/create", {"model": "third", "from": "second", "draft_quantize": "Q4_0"})
    assert drafts(rig, "third") == [made]
    assert config(rig, "third")["file_type"] == "Q8_0"  # of the weights, which stay as they are


def test_drafts_that_are_none(rig: Rig) -> None:
    demo, lora, projector = (put(rig, path) for path in (DEMO, LORA, PROJECTOR))
    base = {"from": "demo"}
    assert refused(rig, **base, draft_quantize="Q8_0").startswith("draft_quantize: there is no draft model")
    assert "draft_files: a draft is the weights of one model" in refused(rig, **base, draft_files={"p": projector})
    assert "draft_files: l is an adapter" in refused(rig, **base, draft_files={"l": lora})
    assert "draft_files: " in refused(rig, **base, draft_files={"a": demo, "b": demo})
    assert refused(rig, draft_files={"a": demo}) == "neither 'from' or 'files' was specified"
    assert refused(rig, **base, draft_files={"a": "x"}) == "invalid digest format"
    assert "supported types are" in refused(rig, **base, draft_files={"a": demo}, draft_quantize="Q9")
    assert "only supported for F16" in refused(rig, **base, draft_files={"a": demo}, draft_quantize="Q4_0")
    for remote in ({"from": "big:cloud"}, {"from": "demo", "remote_host": "ollama.com"}):
        assert refused(rig, **remote, draft_files={"a": demo}) == "DRAFT cannot be used with remote models"


# ---------------------------------------------------------------- files


def test_a_split_model_is_merged_whatever_the_order(rig: Rig, parts: list[Path]) -> None:
    files = {f"dir/{path.name}": put(rig, path) for path in reversed(parts)}
    texts = [line["status"] for line in rig.lines("/api/create", {"model": "new", "files": files})]
    assert texts.count("parsing GGUF") == 3
    assert "merging split GGUF" in texts
    stored = rig.store.find(Name.parse("new"))
    assert stored is not None
    assert len(stored.header.tensors) == 20
    assert "split.count" not in stored.header.metadata


def test_g16_a_split_model_with_a_part_missing_swapped_or_foreign(rig: Rig, parts: list[Path]) -> None:
    names = [path.name for path in parts]
    digests = [put(rig, path) for path in parts]
    first, second, third = digests
    assert "full-00002-of-00003.gguf is missing" in refused(rig, files={names[0]: first, names[2]: third})
    assert "says split.no 1 where 0 was expected" in refused(
        rig, files={names[0]: second, names[1]: first, names[2]: third}
    )
    assert "different split models" in refused(
        rig, files={names[0]: first, names[1]: second, "other-00003-of-00003.gguf": third}
    )
    assert "same name" in refused(rig, files={f"{place}/{names[0]}": first for place in "ab"})
    assert "one part of a model split into 3" in refused(rig, files={"whole.gguf": first})
    assert "split into 99999 parts" in refused(rig, files={"x-00001-of-99999.gguf": first})
    assert not list((rig.store.root / ".powerd/ingest").glob("*"))


def test_adapters_and_projectors_are_kept_as_their_own_layers(rig: Rig) -> None:
    body = {
        "from": "demo",
        "files": {"mm.gguf": put(rig, PROJECTOR)},
        "adapters": {"lora.gguf": put(rig, LORA)},
    }
    rig.lines("/api/create", {"model": "new", **body})
    shown = rig.post("/api/show", {"model": "new"}).json()["modelfile"]
    assert shown.count("\nADAPTER ") == 1
    assert shown.count("\nFROM ") == 2
    rig.lines("/api/create", {"model": "newer", "from": "new", "files": body["files"]})
    assert rig.post("/api/show", {"model": "newer"}).json()["modelfile"].count("\nFROM ") == 2


def test_g18_files_in_the_wrong_place(rig: Rig) -> None:
    demo, embed, lora, projector = (put(rig, path) for path in (DEMO, EMBED, LORA, PROJECTOR))
    assert "no model weights" in refused(rig, files={"mm.gguf": projector})
    assert "is an adapter" in refused(rig, files={"lora.gguf": lora})
    assert "is no LoRA adapter, but a projector" in refused(rig, **{"from": "demo"}, adapters={"mm.gguf": projector})
    assert "is no LoRA adapter, but a model" in refused(rig, **{"from": "demo"}, adapters={"demo.gguf": demo})
    assert "only one adapter" in refused(rig, **{"from": "demo"}, adapters={"a": lora, "b": lora})
    assert "is an adapter for llama, not for" in refused(rig, **{"from": "embed"}, adapters={"a": lora})
    assert "more than one model's weights" in refused(rig, files={"a.gguf": demo, "b.gguf": embed})
    assert "more than one model's weights" in refused(rig, **{"from": "demo"}, files={"b.gguf": embed})


def archives() -> dict[str, bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("../../escape", "x")
    with tarfile.open(fileobj=tarred, mode="w") as archive_:
        archive_.addfile(tarfile.TarInfo("../escape"))
    return {"m.zip": zipped.getvalue(), "m.tar": tarred.getvalue(), "m.gz": b"\x1f\x8b\x08" + bytes(40)}


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        *((name, data, "unsupported model format: ") for name, data in archives().items()),
        ("m.7z", b"7z\xbc\xaf\x27\x1c" + bytes(40), "unsupported model format: "),
        ("m.gguf", archives()["m.zip"], "unsupported model format: m.gguf looks like a zip archive"),
        ("model.pt", b"\x80\x04\x95" + bytes(40), "unsupported model format: "),
        ("m.gguf", b"<!DOCTYPE html><p>404", "supplied file was not in GGUF format: m.gguf looks like HTML"),
        ("m", b"some text", "unknown type: m looks like plain text"),
        ("m", b"", "unknown type: m looks like an empty file"),
        ("m.gguf", b"GGUF", "truncated GGUF at byte 4"),
        ("m.gguf", b"GG", "truncated GGUF at byte 2"),
        ("m.gguf", Crafted().drop("general.architecture").bytes(), "general.architecture is missing"),
    ],
)
def test_s08_s32_s43_g19_files_that_are_no_models(rig: Rig, name: str, data: bytes, text: str) -> None:
    assert text in refused(rig, files={name: put(rig, data)})


def test_s28_a_path_is_answered_alike_whether_it_exists_or_not(rig: Rig) -> None:
    for key in ("path", "modelfile", "from"):
        there, nowhere = (refused(rig, **{key: path}) for path in ("/etc/passwd", "/nope/passwd"))
        assert there == nowhere
        assert "passwd" not in there


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x.gguf", "a/../../x", "C:\\x.gguf", "\\\\host\\x", "", "a\nb", "."]
)
def test_s28_a_files_name_stays_inside(rig: Rig, name: str) -> None:
    assert refused(rig, files={name: put(rig, DEMO)}) == "file path must be relative"


@pytest.mark.parametrize("digest", ["", "x", "sha256:../../etc/passwd", "sha256:" + "g" * 64, "sha512:" + "0" * 64])
def test_n07_digests_that_are_none(rig: Rig, digest: str) -> None:
    assert refused(rig, files={"m.gguf": digest}) == "invalid digest format"
    assert refused(rig, **{"from": "demo"}, adapters={"m.gguf": digest}) == "invalid digest format"


def test_a_blob_that_was_never_uploaded(rig: Rig) -> None:
    assert "not found; upload it first" in refused(rig, files={"m.gguf": "sha256:" + "0" * 64})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"info": {"model_family": 1}}, 'info field "model_family" must be a string'),
        ({"info": {"context_length": "x"}}, 'info field "context_length" must be a number'),
        ({"info": {"context_length": -1}}, 'info field "context_length" must be a non-negative integer'),
        ({"info": {"embedding_length": 1.5}}, 'info field "embedding_length" must be a non-negative integer'),
        ({"info": {"context_length": True}}, 'info field "context_length" must be a number'),
        ({"info": {"capabilities": "tools"}}, 'info field "capabilities" must be a list of strings'),
        ({"license": 5}, "license: expected string or array of strings"),
        ({"license": ["a", 5]}, "license: expected string or array of strings"),
        ({"messages": [{"content": "x"}]}, "messages[0].role: a message needs a role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content: expected string or null"),
        ({"parameters": {"stop": "x"}}, 'option "stop" must be of type array'),
        ({"parameters": {"top_p": 2}}, 'option "top_p" must be between 0 and 1'),
        ({"template": "{% if x"}, "template error: line 1: {% is not closed by %}"),
        ({"template": "a\n{{ .Prompt"}, "template error: {{ of line 2 is not closed by }} (line 2)"),
        ({"template": "{{ .Prompt }}\n{{ frob . }}"}, 'template error: function "frob" not defined (line 2)'),
        ({"files": {"a": 5}}, "expected string"),
        ({"remote_host": "ollama.com"}, "remote_host: powerd runs models on this machine only"),
    ],
)
def test_h02_fields_of_the_wrong_kind_are_named(rig: Rig, body: dict[str, Any], text: str) -> None:
    assert text in refused(rig, **{"from": "demo"}, **body)


def test_h11_unknown_parameters_are_kept_and_nulls_leave_the_bases(rig: Rig) -> None:
    parameters = {"num_predict": None, "num_gqa": 8, "top_k": 5.0}
    rig.lines("/api/create", {"model": "new", "from": "ns/tuned:v1", "parameters": parameters})
    stored = rig.store.find(Name.parse("new"))
    assert stored is not None
    assert stored.params == {"num_predict": 3, "num_gqa": 8, "top_k": 5, "stop": ["<a>", "<b>"]}


def test_g17_a_hostile_template_in_the_weights_is_kept_out_of_the_daemon(rig: Rig) -> None:
    """A model is made of it all the same; what the template may do is the render helper's business."""
    crafted = Crafted()
    crafted.pairs["tokenizer.chat_template"] = pair("tokenizer.chat_template", STR, "{% for i in range(10**9) %}")
    rig.lines("/api/create", {"model": "new", "files": {"m.gguf": put(rig, crafted.bytes())}})
    assert rig.post("/api/show", {"model": "new"}).status_code == 200
