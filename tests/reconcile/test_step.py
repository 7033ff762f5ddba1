"""step: from want and have to exactly one next step."""

from __future__ import annotations

from dataclasses import replace

from powerd.catalog.spec import ModelSpec, Position, Template
from powerd.digest import Digest
from powerd.names import Name
from powerd.reconcile.step import Compose, Composed, Fetch, Fetched, Have, MakeOffer, Settled, Withdraw, recipe, step

WEIGHTS = Digest("a" * 64)
MANIFEST = Digest("b" * 64)
SPEC = ModelSpec(Name.declared("m"), "/models/m.gguf", Position("models.yaml", 3, 3))
FETCHED = Fetched(SPEC.source, "looks", WEIGHTS, WEIGHTS)
COMPOSED = Composed(FETCHED, recipe(SPEC, FETCHED), MANIFEST)
DONE = Have("looks", None, COMPOSED, (SPEC, MANIFEST))


def test_nothing_there_is_fetched() -> None:
    assert step(SPEC, Have("looks")) == Fetch()


def test_fetched_weights_are_composed() -> None:
    assert step(SPEC, Have("looks", FETCHED)) == Compose(FETCHED)


def test_a_composition_of_the_same_recipe_is_offered() -> None:
    assert step(SPEC, Have("looks", None, COMPOSED)) == MakeOffer()


def test_all_there_is_settled() -> None:
    assert step(SPEC, DONE) == Settled()


def test_a_restarted_daemon_neither_fetches_nor_composes() -> None:
    assert step(SPEC, Have("looks", None, COMPOSED, None)) == MakeOffer()


def test_another_source_is_fetched_again() -> None:
    assert step(replace(SPEC, source="/models/other.gguf"), DONE) == Fetch()


def test_a_file_that_changed_under_its_name_is_fetched_again() -> None:
    assert step(SPEC, replace(DONE, identity="other looks")) == Fetch()


def test_a_pin_the_weights_do_not_match_fetches_again() -> None:
    assert step(replace(SPEC, digest=Digest("c" * 64)), DONE) == Fetch()


def test_weights_quantized_here_stand_for_the_source_they_were_made_from() -> None:
    made = replace(FETCHED, weights=Digest("d" * 64), quantization="Q4_K_M", pinned=str(WEIGHTS))
    have = Have("looks", None, Composed(made, recipe(SPEC, made), MANIFEST), None)
    asked = replace(SPEC, quantization="Q4_K_M")
    assert isinstance(step(asked, have), MakeOffer | Compose)
    assert isinstance(step(replace(asked, digest=WEIGHTS), have), MakeOffer | Compose)
    assert step(SPEC, have) == Fetch()
    assert step(replace(asked, quantization="Q8_0"), have) == Fetch()


def test_new_texts_compose_again_from_the_same_weights() -> None:
    for change in (
        {"system": "You are a pirate."},
        {"template": Template("{{ messages }}", "jinja")},
        {"parameters": {"temperature": 0.2}},
        {"messages": (("user", "hi"),)},
    ):
        assert step(replace(SPEC, **change), DONE) == Compose(FETCHED)


def test_runner_fields_only_make_a_new_offer() -> None:
    changed = replace(SPEC, context=2048, parallel=2, keep_alive=9.0)
    assert step(changed, DONE) == MakeOffer()


def test_withdrawn_and_absent_models_are_taken_away_once() -> None:
    assert step(None, DONE) == Withdraw()
    assert step(replace(SPEC, state="absent"), DONE) == Withdraw()
    assert step(None, Have()) == Settled()
    assert step(replace(SPEC, state="absent"), Have("looks", FETCHED)) == Settled()


def taken(have: Have) -> Have:
    """What is there after the one step that `have` calls for."""
    match step(SPEC, have):
        case Fetch():
            return replace(have, fetched=FETCHED)
        case Compose(fetched):
            return replace(have, fetched=None, composed=Composed(fetched, recipe(SPEC, fetched), MANIFEST))
        case MakeOffer():
            return replace(have, offered=(SPEC, MANIFEST))
    return have


def test_every_path_ends_settled() -> None:
    for have in (Have("looks"), Have("looks", FETCHED), Have("looks", None, COMPOSED), DONE):
        assert step(SPEC, taken(taken(taken(have)))) == Settled()
