"""Embeddings over HTTP with the fake runner: a vector is (0.6, 0.8, words), or (3, 4, words) as it was computed."""

from __future__ import annotations

import base64
import struct
from typing import Any

import httpx
import pytest

from powerd import metrics
from tests.api.rig import Rig

LONG = "word " * 300  # the embedding model was trained for 256 tokens


def post(rig: Rig, path: str, status: int = 200, **body: Any) -> httpx.Response:
    answer = rig.post(path, body)
    assert answer.status_code == status, answer.text
    return answer


# ---------------------------------------------------------------- /api/embed


@pytest.mark.parametrize("model", ["embed", "demo"])
def test_an_input_or_several_become_vectors_in_their_order(rig: Rig, model: str) -> None:
    one = post(rig, "/api/embed", model=model, input="two words").json()
    assert one["model"] == model
    assert one["embeddings"] == [pytest.approx([0.6, 0.8, 2])]
    assert one["prompt_eval_count"] == 2
    assert one["total_duration"] > 0
    many = post(rig, "/api/embed", model=model, input=["w " * count for count in range(1, 201)]).json()
    assert [vector[2] for vector in many["embeddings"]] == list(range(1, 201))
    assert many["prompt_eval_count"] == 200 * 201 / 2


def test_numbers_are_whole_float32(rig: Rig) -> None:
    (vector,) = post(rig, "/api/embed", model="embed", input="x").json()["embeddings"]
    assert struct.pack("<2f", *vector[:2]) == struct.pack("<2f", 0.6, 0.8)


@pytest.mark.parametrize("empty", ["", [], None])
def test_no_input_loads_the_model_and_answers_no_vectors(rig: Rig, empty: Any) -> None:
    assert post(rig, "/api/embed", model="embed", input=empty).json() == {"model": "embed", "embeddings": []}
    assert "embed:latest" in [loaded["name"] for loaded in rig.get("/api/ps").json()["models"]]


def test_an_empty_text_among_others_has_its_vector(rig: Rig) -> None:
    assert len(post(rig, "/api/embed", model="embed", input=["", "x"]).json()["embeddings"]) == 2


@pytest.mark.parametrize("wrong", [5, {"a": 1}, ["a", 5], [["a"]], [1, 2], True])
def test_an_input_of_another_type_is_refused(rig: Rig, wrong: Any) -> None:
    assert post(rig, "/api/embed", 400, model="embed", input=wrong).json() == {"error": "invalid input type"}
    told = post(rig, "/v1/embeddings", 400, model="embed", input=wrong).json()["error"]
    assert (told["message"], told["type"], told["param"]) == ("invalid input type", "invalid_request_error", "input")


def test_unknown_and_missing_models_are_told_in_the_routes_own_words(rig: Rig) -> None:
    missing = 'model "nope" not found, try pulling it first'
    assert post(rig, "/api/embed", 404, model="nope", input="x").json() == {"error": missing}
    assert post(rig, "/api/embeddings", 404, model="nope", prompt="x").json() == {"error": missing}
    assert post(rig, "/api/embed", 404, input="x").json() == {"error": "model '' not found"}
    assert post(rig, "/api/embeddings", 400, prompt="x").json() == {"error": "model is required"}


def test_an_input_too_long_is_cut_and_named_in_a_header(rig: Rig) -> None:
    answer = post(rig, "/api/embed", model="embed", input=["short", LONG])
    assert [vector[2] for vector in answer.json()["embeddings"]] == [1, 256]
    assert answer.headers["x-powerd-truncated"] == "input[1] from 300 to 256 tokens"


def test_an_input_too_long_is_refused_by_index_where_nothing_may_be_cut(rig: Rig) -> None:
    told = post(rig, "/api/embed", 400, model="embed", input=["a", "b", LONG], truncate=False).json()["error"]
    assert told.startswith("the input length exceeds the context length: input[2] has 300 tokens, and 256 are avail")
    assert "the context the model was trained for" in told


def test_a_requests_context_is_a_limit_too(rig: Rig) -> None:
    told = post(rig, "/api/embed", 400, model="embed", input="a b c", truncate=False, options={"num_ctx": 2}).json()
    assert "`num_ctx` of the request" in told["error"]


def test_a_limit_says_where_it_comes_from(rig: Rig) -> None:
    rig.declare("wide", context=4096)
    try:
        body = {"model": "wide", "input": "w " * 5000, "truncate": False}
        told = post(rig, "/api/embed", 400, **body, options={"num_ctx": 8192}).json()["error"]
        assert "the 2048 tokens a generative model embeds at most" in told
        told = post(rig, "/api/embed", 400, **body, options={"num_ctx": 100}).json()["error"]
        assert "100 are available, which comes from `num_ctx` of the request" in told
    finally:
        rig.withdraw()


def test_a_requests_context_does_not_make_a_chat_model_grow_for_its_vectors(rig: Rig) -> None:
    post(rig, "/api/embed", model="demo", input="x")
    before = rig.get("/api/ps").json()["models"]
    post(rig, "/api/embed", model="demo", input="x", options={"num_ctx": 100_000})
    after = rig.get("/api/ps").json()["models"]
    assert [row["context_length"] for row in after] == [row["context_length"] for row in before]


def test_a_model_that_refuses_to_cut_is_obeyed(rig: Rig) -> None:
    rig.declare("strict", overflow="reject", context=16)
    try:
        told = post(rig, "/api/embed", 400, model="strict", input=LONG).json()["error"]
        assert "input[0] has 300 tokens, and 16 are available" in told
        assert post(rig, "/api/embed", model="strict", input=LONG, truncate=True).headers["x-powerd-truncated"]
    finally:
        rig.withdraw()


def test_an_error_of_one_input_names_it_and_ends_the_rest(rig: Rig) -> None:
    texts = ["fine", "bad?fail=bad_request", *["more"] * 300]
    told = post(rig, "/api/embed", 400, model="embed", input=texts).json()["error"]
    assert told == "input[1]: it was told to fail"
    assert post(rig, "/api/embed", model="embed", input="after").json()["embeddings"]


def test_too_many_inputs_are_refused_with_the_number(rig: Rig) -> None:
    told = post(rig, "/api/embed", 400, model="embed", input=["x"] * 16_385).json()["error"]
    assert "at most 16384 inputs, not 16385" in told


def test_more_dimensions_than_there_are_give_all_and_a_header_says_so(rig: Rig) -> None:
    answer = post(rig, "/api/embed", model="embed", input="x", dimensions=1000)
    assert len(answer.json()["embeddings"][0]) == 3
    assert answer.headers["x-powerd-dimensions"] == "128 (all there are; 1000 were asked)"
    assert len(post(rig, "/api/embed", model="embed", input="x", dimensions=2).json()["embeddings"][0]) == 2
    assert len(post(rig, "/api/embed", model="embed", input="x", dimensions=-1).json()["embeddings"][0]) == 3


def test_keep_alive_zero_unloads_the_model_after_the_answer(rig: Rig) -> None:
    assert post(rig, "/api/embed", model="embed", input="x", keep_alive=0).json()["embeddings"]
    assert post(rig, "/api/generate", model="embed", keep_alive=0).json()["done_reason"] == "unload"
    assert "embed:latest" not in [loaded["name"] for loaded in rig.get("/api/ps").json()["models"]]
    assert post(rig, "/api/embed", 400, model="embed", keep_alive="5 parsecs").json()["error"].startswith("time: ")


def test_tokens_and_inputs_are_counted(rig: Rig) -> None:
    def counts() -> tuple[float, float]:
        return (
            metrics.EMBEDDINGS.labels("embed:latest")._value.get(),
            metrics.TOKENS.labels("embed:latest", "prompt")._value.get(),
        )

    inputs, tokens = counts()
    post(rig, "/api/embed", model="embed", input=["a b", "c"])
    assert counts() == (inputs + 2, tokens + 3)


# ---------------------------------------------------------------- /api/embeddings


def test_the_older_route_answers_one_vector_as_it_was_computed(rig: Rig) -> None:
    assert post(rig, "/api/embeddings", model="embed", prompt="two words").json() == {"embedding": [3, 4, 2]}
    assert post(rig, "/api/embeddings", model="embed").json() == {"embedding": []}


def test_the_older_route_never_cuts(rig: Rig) -> None:
    told = post(rig, "/api/embeddings", 400, model="embed", prompt=LONG).json()["error"]
    assert told.startswith("the input length exceeds the context length")


# ---------------------------------------------------------------- /v1/embeddings


def test_openais_route_answers_floats_or_base64(rig: Rig) -> None:
    body = post(rig, "/v1/embeddings", model="embed", input=["a", "b c"]).json()
    assert body["object"] == "list"
    assert body["model"] == "embed"
    assert [(item["object"], item["index"]) for item in body["data"]] == [("embedding", 0), ("embedding", 1)]
    assert body["data"][1]["embedding"] == pytest.approx([0.6, 0.8, 2])
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    coded = post(rig, "/v1/embeddings", model="embed", input="a", encoding_format="BASE64").json()["data"][0]
    assert struct.unpack("<3f", base64.b64decode(coded["embedding"])) == pytest.approx((0.6, 0.8, 1))


def test_openais_route_embeds_an_empty_text_and_refuses_none(rig: Rig) -> None:
    assert len(post(rig, "/v1/embeddings", model="embed", input="").json()["data"]) == 1
    for empty in ("null", "[]"):
        answer = rig.post("/v1/embeddings", b'{"model":"embed","input":%s}' % empty.encode())
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "invalid input"


def test_openais_route_names_the_formats_it_has(rig: Rig) -> None:
    told = post(rig, "/v1/embeddings", 400, model="embed", input="x", encoding_format="hex").json()["error"]["message"]
    assert told == "Invalid value for 'encoding_format' = hex. Supported values: ['float', 'base64']."


def test_openais_route_cuts_and_says_so(rig: Rig) -> None:
    assert "input[0]" in post(rig, "/v1/embeddings", model="embed", input=LONG).headers["x-powerd-truncated"]
    told = post(rig, "/v1/embeddings", 400, model="embed", input=LONG, truncate=False).json()["error"]
    assert told["param"] == "input[0]"
