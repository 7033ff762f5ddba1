"""The one path: what a template sees, what is noted when something is served otherwise than asked, how it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from powerd import errors
from powerd.api.answer import failure
from powerd.api.ask import Ask, packed, unpacked
from powerd.api.rendering import conversation
from powerd.catalog.spec import ALWAYS, Template
from powerd.errors import BadRequest
from powerd.names import Name
from powerd.protocol import Failed, Message
from powerd.store.manifest import TEMPLATE_TYPE, Layer
from tests.api.rig import Rig

USER = Message("user", "hi")
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
def declare(rig: Rig) -> Iterator[Any]:
    yield rig.declare
    rig.withdraw()


def rendered(rig: Rig, **body: Any) -> str:
    answer = rig.post("/api/chat", {"messages": HI, "_debug_render_only": True, **body})
    assert answer.status_code == 200, answer.text
    assert answer.json()["done"] is False
    return str(answer.json()["_debug_info"]["rendered_template"])


# ---------------------------------------------------------------- the conversation


def test_the_models_system_text_and_messages_come_first(declare: Any) -> None:
    offer = declare("coach", system="Be kind.", messages=(("user", "a"), ("assistant", "b")))
    system, stored = Message("system", "Be kind."), (Message("user", "a"), Message("assistant", "b"))
    assert conversation(Ask("coach", messages=(USER,)), offer) == (system, *stored, USER)
    own = Message("system", "Be brief.")
    assert conversation(Ask("coach", messages=(own, USER)), offer) == (*stored, own, USER)
    later = (USER, own)
    assert conversation(Ask("coach", messages=later), offer) == (system, *stored, *later)
    asked = Ask("coach", messages=(USER,), system="Be brief.", with_stored=False)
    assert conversation(asked, offer) == (own, USER)


def test_the_template_of_the_weights_is_used_and_the_owners_wins(rig: Rig, declare: Any) -> None:
    assert "<|im_start|>user\nhi<|im_end|>" in rendered(rig, model="demo")
    declare("own", template=Template("{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}>", "jinja"))
    assert rendered(rig, model="own") == "[user:hi]>"


WHOLE_GO = "{{ range .Messages }}{{ .Thinking }}{{ .ToolCalls }}{{ .ToolName }}<{{ .Role }}>{{ .Content }}{{ end }}"
WHOLE_GO += "{{ .Tools }}"


@pytest.mark.parametrize(
    ("layer", "origin", "begins"),
    [
        ("{{ .Prompt }}", "model", "<|im_start|>"),  # the GGUF's own can do more
        (WHOLE_GO, "layer", "[]<user>hi[]"),
        (WHOLE_GO + "{{ if }}", "model", "<|im_start|>"),
    ],
)
def test_a_pulled_go_template_is_used_where_it_can_do_as_much(rig: Rig, layer: str, origin: str, begins: str) -> None:
    demo = rig.library.find("demo").stored
    digest, size = rig.store.put(layer.encode())
    rig.store.publish(Name.parse("pulled"), [*demo.layers, Layer(TEMPLATE_TYPE, digest, size)], demo.config)
    rig.run(rig.library.refresh())
    try:
        told = rig.post("/api/chat", {"model": "pulled", "messages": HI, "_debug_render_only": True}).json()
        assert told["_debug_info"]["template"]["origin"] == origin
        assert told["_debug_info"]["rendered_template"].startswith(begins)
        shown = rig.post("/api/show", {"model": "pulled"}).json()
        assert (shown["template"] == layer) is (origin == "layer")
        assert f"TEMPLATE {layer}\n" in shown["modelfile"]
    finally:
        rig.ask("DELETE", "/api/delete", {"model": "pulled"})


GO = "{{ range .Messages }}<{{ .Role }}>{{ .Content }}{{ end }}<assistant>"


def test_the_owners_go_template_wins_and_leaves_an_answer_open(rig: Rig, declare: Any) -> None:
    declare("go", system="S", template=Template(GO, "go"))
    assert rendered(rig, model="go") == "<system>S<user>hi<assistant>"
    open_end = [*HI, {"role": "assistant", "content": "Once"}]
    assert rendered(rig, model="go", messages=open_end) == "<system>S<user>hi<assistant>Once"


def test_a_go_template_learns_whether_to_think(rig: Rig, declare: Any) -> None:
    declare("tell", template=Template("{{ .Think }} {{ .IsThinkSet }}{{ range .Messages }}{{ end }}", "go"))
    assert rendered(rig, model="tell", think=False) == "false true"
    assert rendered(rig, model="tell") == "false false"


def only_rendered(rig: Rig, **body: Any) -> Any:
    return rig.post("/api/generate", {"prompt": "a", "_debug_render_only": True, **body})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("[{{ .System }}|{{ .Prompt }}]{{ .Response }} gone", "[S|a]"),
        ("{% for m in messages %}{{ m.role }} {% endfor %}", "system user "),
    ],
)
def test_a_request_may_bring_a_template_in_either_syntax(rig: Rig, declare: Any, template: str, expected: str) -> None:
    declare("coach", system="S", template=Template(GO, "go"))
    answer = only_rendered(rig, model="coach", template=template)
    assert answer.json()["_debug_info"]["rendered_template"] == expected


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("a\n{{ .Prompt }}{{ if .System }}", "{{if}} is not closed by {{end}} (line 2)"),
        ("a\n\n{{ last .Messages }}", 'function "last" not defined (line 3)'),
        ("{{ range .Messages }}\n{{ .Nope }}{{ end }}", "can't evaluate field Nope in type Message (line 2)"),
        ("{% for %}{% endfor %}", "(line 1)"),
    ],
)
def test_a_requests_template_that_is_none_is_a_400_with_its_line(rig: Rig, template: str, problem: str) -> None:
    answer = only_rendered(rig, model="demo", template=template)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("template error: ")
    assert problem in answer.json()["error"]


def test_whose_template_it_is_is_told_with_the_prompt(rig: Rig, declare: Any) -> None:
    declare("go", template=Template(GO, "go"))
    for model, told in (("demo", ("model", "jinja")), ("go", ("owner", "go"))):
        template = only_rendered(rig, model=model).json()["_debug_info"]["template"]
        assert (template["origin"], template["syntax"]) == told
    assert "template" not in only_rendered(rig, model="demo", raw=True).json()["_debug_info"]


def test_a_suffix_needs_a_template_with_a_place_for_it(rig: Rig, declare: Any) -> None:
    declare("coder", template=Template("<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>", "go"))
    assert only_rendered(rig, model="coder", suffix="b").json()["_debug_info"]["rendered_template"] == (
        "<pre>a<suf>b<mid>"
    )
    assert "insert" in rig.post("/api/show", {"model": "coder"}).json()["capabilities"]
    for body in ({"model": "demo"}, {"model": "coder", "template": "{{ .Prompt }}"}):
        assert only_rendered(rig, suffix="b", **body).status_code == 400


def test_a_template_that_refuses_is_a_400_with_its_own_words(rig: Rig, declare: Any) -> None:
    declare("strict", template=Template("{{ raise_exception('only pigs may fly') }}", "jinja"))
    for path in ("/api/chat", "/v1/chat/completions"):
        answer = rig.post(path, {"model": "strict", "messages": HI})
        assert answer.status_code == 400
        assert "only pigs may fly" in answer.text


@pytest.mark.parametrize("content", ["Once upon a", "  with space ", "a [b] (c) \\1"])
def test_an_assistants_last_message_is_left_open(rig: Rig, content: str) -> None:
    text = rendered(rig, model="demo", messages=[*HI, {"role": "assistant", "content": content}])
    assert text.rstrip().endswith(content.strip())
    assert "<|im_start|>assistant" in text


def test_an_empty_assistants_message_changes_nothing(rig: Rig) -> None:
    assert rendered(rig, model="demo", messages=[*HI, {"role": "assistant", "content": ""}]) == rendered(
        rig, model="demo"
    )


def test_a_template_that_hides_the_last_message_cannot_go_on_from_it(rig: Rig, declare: Any) -> None:
    declare("mute", template=Template("{{ messages[0].content }}", "jinja"))
    answer = rig.post("/api/chat", {"model": "mute", "messages": [*HI, {"role": "assistant", "content": "xyz"}]})
    assert answer.status_code == 400
    assert "cannot be continued" in answer.json()["error"]


def test_old_thoughts_are_no_part_of_the_conversation_where_the_family_wants_it_so(rig: Rig, declare: Any) -> None:
    answers = ["<think>\nhm\n</think>\n\nHello", "<think>so</think>Bye"]
    messages = (USER, Message("assistant", answers[0]), USER, Message("assistant", answers[1]))
    for name, first in (("deepseek-r1", "Hello"), ("other", answers[0])):
        seen = conversation(Ask(name, messages=messages), declare(name))
        assert [message.content for message in seen if message.role == "assistant"] == [first, answers[1]]


def test_think_false_reaches_the_template(rig: Rig, declare: Any) -> None:
    declare("tell", template=Template("{{ enable_thinking is defined }} {{ enable_thinking }}", "jinja"))
    assert rendered(rig, model="tell", think=False) == "True False"
    assert rendered(rig, model="tell").startswith("False")
    declare("told", think=False, template=Template("{{ enable_thinking is defined }} {{ enable_thinking }}", "jinja"))
    assert rendered(rig, model="told") == "True False"


# ---------------------------------------------------------------- notes


def generate(rig: Rig, **body: Any) -> Any:
    answer = rig.post("/api/generate", {"model": "demo", "prompt": "x", "stream": False, **body})
    assert answer.status_code == 200, answer.text
    return answer


def test_h11_options_without_effect_are_named_in_a_header(rig: Rig) -> None:
    assert (
        generate(rig, options={"num_gpu": 3, "num_thread": 2, "tfs_z": 1}).headers["x-powerd-ignored"]
        == "num_gpu, num_thread, tfs_z"
    )
    assert "x-powerd-ignored" not in generate(rig, options={"temperature": 0}).headers


def test_h12_num_ctx_above_a_declared_context_is_served_at_that_and_said(rig: Rig, declare: Any) -> None:
    declare("small", context=256)
    answer = generate(rig, model="small", options={"num_ctx": 512, "num_predict": 1})
    assert answer.headers["x-powerd-context"] == "256 (declared; 512 was asked)"
    assert "x-powerd-context" not in generate(rig, model="small", options={"num_ctx": 128}).headers


def test_two_clients_that_alternate_num_ctx_cost_one_load(rig: Rig, declare: Any) -> None:
    declare("steady", context=257)

    async def pids() -> list[int]:
        return [view.pid for view in rig.fleet.views() if view.model == "steady"]

    seen = []
    for num_ctx in [128, 512] * 10:
        generate(rig, model="steady", options={"num_ctx": num_ctx, "num_predict": 1})
        seen += rig.run(pids())
    assert len(seen) == 20
    assert len(set(seen)) == 1


def test_a_request_that_is_rendered_while_its_model_is_declared_anew_starts_the_new_process_only(
    rig: Rig, declare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare("edited", context=260)
    render = rig.renderers.render

    async def edited_meanwhile(*given: Any, **named: Any) -> str:
        text = await render(*given, **named)
        if rig.library.find("edited").deployment.context == 260:
            await rig._declare("edited", {"context": 261})
        return text

    monkeypatch.setattr(rig.renderers, "render", edited_meanwhile)
    body = {"model": "edited", "messages": [{"role": "user", "content": "x"}], "options": {"num_predict": 1}}
    assert rig.post("/api/chat", {**body, "stream": False}).status_code == 200

    async def loaded() -> list[int]:
        return [view.context for view in rig.fleet.views() if view.model == "edited"]

    assert rig.run(loaded()) == [261]


def test_a_declared_context_grows_where_the_owner_says_so(rig: Rig, declare: Any) -> None:
    declare("grows", context=258, request_options="grow")
    answer = generate(rig, model="grows", options={"num_ctx": 512, "num_predict": 1})
    assert "x-powerd-context" not in answer.headers


def test_an_automatic_context_stays_where_the_owner_says_so(rig: Rig, declare: Any) -> None:
    offer = declare("stays-put", parallel=3, request_options="declared")
    num_ctx = offer.deployment.context + 1
    answer = generate(rig, model="stays-put", options={"num_ctx": num_ctx, "num_predict": 1})
    assert answer.headers["x-powerd-context"] == f"{num_ctx - 1} (declared; {num_ctx} was asked)"


def test_runner_options_are_refused_with_both_numbers_where_the_owner_says_so(rig: Rig, declare: Any) -> None:
    declare("strict-size", context=259, request_options="reject")
    answer = rig.post("/api/generate", {"model": "strict-size", "prompt": "x", "options": {"num_ctx": 512}})
    assert answer.status_code == 400
    assert "num_ctx: 512 tokens are asked for and 259 are there" in answer.json()["error"]
    assert "`request_options: reject`" in answer.json()["error"]
    answer = rig.post("/api/generate", {"model": "strict-size", "prompt": "x", "options": {"num_gpu": 3}})
    assert answer.status_code == 400
    assert "num_gpu" in answer.json()["error"]
    assert rig.post("/api/generate", {"model": "strict-size", "options": {"num_ctx": 512}}).status_code == 400
    generate(rig, model="strict-size", options={"num_ctx": 259, "num_predict": 1})


def test_the_class_of_a_request_is_its_models_and_the_header_can_lower_it(rig: Rig, declare: Any) -> None:
    declare("nightly", context=260, scheduling_class="batch")
    prompt = {"raw": True, "prompt": "?class", "stream": False}
    for model, header, kind in (
        ("demo", "", "interactive"),
        ("demo", "interactive", "interactive"),
        ("demo", "batch", "batch"),
        ("nightly", "", "batch"),
        ("nightly", "interactive", "batch"),
    ):
        headers = {"X_Powerd_Class": header} if header else {}
        answer = rig.post("/api/generate", {"model": model, **prompt}, **headers)
        assert answer.json()["response"] == kind
        assert answer.headers.get("x-powerd-class", "") == (kind if header else "")


@pytest.mark.parametrize("path", ["/api/generate", "/v1/completions"])
@pytest.mark.parametrize("prompt", ["x", ""])
def test_a_class_that_does_not_exist_is_a_400(rig: Rig, path: str, prompt: str) -> None:
    answer = rig.post(path, {"model": "demo", "prompt": prompt}, X_Powerd_Class="urgent")
    assert answer.status_code == 400
    assert "is no scheduling class" in answer.text


@pytest.mark.parametrize("fields", [{"keep_alive": ALWAYS}, {"state": "loaded"}])
def test_keep_alive_on_a_model_that_stays_is_ignored_and_said(rig: Rig, declare: Any, fields: Any) -> None:
    declare("stays", context=300, **fields)
    note = "ignored (models.yaml declares that the model stays loaded)"
    assert generate(rig, model="stays", keep_alive=0).headers["x-powerd-keep-alive"] == note
    unload = rig.post("/api/generate", {"model": "stays", "keep_alive": 0})
    assert unload.json()["done_reason"] == "unload"
    assert unload.headers["x-powerd-keep-alive"] == note
    assert "stays" in {view["name"].split(":")[0] for view in rig.get("/api/ps").json()["models"]}


def test_declared_parameters_hold_under_the_requests(rig: Rig, declare: Any) -> None:
    declare("three", context=333, parameters={"num_predict": 3})
    assert generate(rig, model="three").json()["eval_count"] == 3
    assert generate(rig, model="three", options={"num_predict": 5}).json()["eval_count"] == 5
    assert generate(rig, model="ns/tuned:v1").json()["eval_count"] == 3


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("kind", [errors.BadRequest, errors.Timeout, errors.LoadFailed, errors.Busy, errors.TooLarge])
def test_a_runners_failure_is_the_error_of_that_code(kind: type[errors.PowerError]) -> None:
    error = failure(Failed(1, kind.code, "why"))
    assert type(error) is kind
    assert "why" in error.message


def test_a_runners_overflow_keeps_its_numbers() -> None:
    error = failure(Failed(1, "context_overflow", "", 9, 4, "`context:` of demo"))
    assert isinstance(error, errors.ContextOverflow)
    assert (error.needed, error.limit, error.limit_source) == (9, 4, "`context:` of demo")


def test_a_failure_of_no_known_code_is_the_runners_fault() -> None:
    assert failure(Failed(1, "what", "")).message.startswith("runner:")


def test_what_somebody_else_cancelled_is_told_to_the_client_who_still_waits(rig: Rig) -> None:
    answer = rig.post("/api/generate", raw("fail=cancelled"))
    assert answer.status_code == 503
    assert "ended before it was complete" in answer.json()["error"]


def raw(words: str, **more: Any) -> dict[str, Any]:
    return {"model": "demo", "raw": True, "prompt": f"?{words}", **more}


def test_h16_a_prompt_too_long_is_400_in_every_dialect_whatever_truncate_says(rig: Rig) -> None:
    answer = rig.post("/api/generate", raw("fail=context_overflow", truncate=True, shift=True))
    assert answer.status_code == 400
    assert "exceeds the available context size" in answer.json()["error"]


@pytest.mark.parametrize("stream", [True, False])
def test_x01_a_runner_that_dies_before_a_byte_is_a_real_status(rig: Rig, declare: Any, stream: bool) -> None:
    declare("fragile", context=100 + stream)  # its own runner: a crash makes the next load wait
    answer = rig.post("/api/generate", raw("crash-after=0,tokens=5", model="fragile", stream=stream))
    assert answer.status_code == 500
    assert answer.json()["error"].startswith("runner: ")


def test_x01_a_runner_that_dies_in_mid_stream_is_the_last_line(rig: Rig, declare: Any) -> None:
    declare("fragile", context=102)
    lines = rig.lines("/api/generate", raw("crash-after=3,tokens=9,rate=50", model="fragile"))
    assert lines[-1].keys() == {"error"}
    assert lines[-1]["error"].startswith("runner: ")
    assert not any(line.get("done") for line in lines[:-1])


def test_x01_in_an_event_stream_it_is_an_error_event_and_nothing_follows(rig: Rig, declare: Any) -> None:
    declare("fragile", context=103)
    open_end = [*HI, {"role": "assistant", "content": "?crash-after=3,tokens=9,rate=50"}]
    events = rig.events("/v1/chat/completions", {"model": "fragile", "messages": open_end, "stream": True})
    last = events[-1]
    assert isinstance(last, dict)
    assert last["error"]["type"] == "api_error"
    assert last["error"]["message"].startswith("runner: ")
    assert "[DONE]" not in events


def test_an_unexpected_failure_in_mid_stream_is_visible_and_without_detail(rig: Rig, monkeypatch: Any) -> None:
    from powerd.api.ollama import frames

    def broken(*_: Any) -> bytes:
        raise ZeroDivisionError("a secret of ours")

    monkeypatch.setattr(frames, "figures", broken)
    lines = rig.lines("/api/generate", raw("tokens=3,rate=50"))
    assert "internal error; see the log under request id" in lines[-1]["error"]


def test_x09_a_whole_answer_has_a_limit(rig: Rig, monkeypatch: Any) -> None:
    monkeypatch.setattr("powerd.api.answer.MAX_ANSWER", 100)
    answer = rig.post("/api/generate", raw("tokens=1000", stream=False))
    assert answer.status_code == 413
    assert "stream it" in answer.json()["error"]
    assert rig.lines("/api/generate", raw("tokens=1000"))[-1]["eval_count"] == 1000


def test_a_prompt_larger_than_a_frame_arrives_whole(rig: Rig) -> None:
    text = "ü" * 600_000
    answer = rig.post("/api/generate", raw("echo", prompt=f"{text}?echo", stream=False))
    assert answer.json()["response"] == f"{len(text) + 5} {2 * len(text) + 5}"


# ---------------------------------------------------------------- token ids


def test_tokens_are_little_endian_int32() -> None:
    assert packed((1, 258), 300) == b"\x01\x00\x00\x00\x02\x01\x00\x00"
    assert unpacked(packed((1, 258), 300)) == [1, 258]
    assert packed((), 1) == b""


@pytest.mark.parametrize("token", [-1, 300, 2**31, 2**70])
def test_a_token_outside_the_vocabulary_never_reaches_the_engine(token: int) -> None:
    with pytest.raises(BadRequest, match="from 0 to 299"):
        packed((1, token), 300)


def test_a_context_from_a_stranger_is_refused_with_the_range(rig: Rig) -> None:
    answer = rig.post("/api/generate", {"model": "demo", "prompt": "x", "context": [1, 10**9]})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("context: token ids")
    assert json.loads(
        rig.post("/api/generate", {"model": "demo", "prompt": "x", "context": [1, 2], "stream": False}).text
    )["done"]
