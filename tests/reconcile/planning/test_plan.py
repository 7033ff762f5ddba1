"""plan: the reconciler's own steps, played to their end, and what they are called. Pure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.catalog.spec import ModelSpec, Position
from powerd.digest import Digest
from powerd.names import Name
from powerd.reconcile.planning.plan import Fetching, FilePiece, action, change_class, field_changes, foresee, step_names
from powerd.reconcile.step import Composed, Fetched, Have, Loss, Settled, recipe, step

A, B, MANIFEST = (Digest(letter * 64) for letter in "abc")
SPEC = ModelSpec(Name.declared("m"), "/m.gguf", Position("models.yaml", 3, 3))
OLD = Fetched(SPEC.source, "looks", A, A)
COMPOSED = Composed(OLD, recipe(SPEC, OLD), MANIFEST)
DONE = Have("looks", None, COMPOSED, (SPEC, MANIFEST))
BROUGHT = Fetched(SPEC.source, "looks", B, B)


def steps(spec: ModelSpec | None, have: Have) -> tuple[str, ...]:
    return step_names(foresee(spec, have, BROUGHT))


def test_the_steps_of_every_kind_of_change() -> None:
    assert steps(SPEC, Have("looks")) == ("fetch", "compose", "offer")
    assert steps(SPEC, DONE) == ()
    assert steps(replace(SPEC, system="x"), DONE) == ("compose", "offer")
    assert steps(replace(SPEC, context=9), DONE) == ("offer",)
    assert steps(None, DONE) == steps(replace(SPEC, state="absent"), DONE) == ("withdraw",)
    assert steps(SPEC, replace(DONE, identity="other", composed=None)) == ("fetch",)  # brings what is not asked for


def test_what_was_recorded_goes_before_what_is_composed() -> None:
    new = replace(OLD, weights=B, origin=B)
    assert foresee(SPEC, replace(DONE, recorded=new), BROUGHT).weights == B
    assert foresee(SPEC, replace(DONE, recorded=new, identity="changed"), BROUGHT).fetches
    assert foresee(SPEC, replace(DONE, recorded=new, identity="changed", pinned=True), BROUGHT).weights == B


def test_a_lost_composition_is_made_again_of_what_was_recorded() -> None:
    have = replace(DONE, composed=None, recorded=OLD, lost=(Loss("manifest", "missing"),))
    foreseen = foresee(SPEC, have, BROUGHT)
    assert step_names(foreseen) == ("compose", "offer")
    assert action(SPEC, SPEC, have, foreseen, None) == "repair"


def test_a_lock_that_says_another_digest_fetches() -> None:
    assert steps(SPEC, replace(DONE, lock=str(B)))[0] == "fetch"
    assert steps(SPEC, replace(DONE, lock=str(A))) == ()


@pytest.mark.parametrize(
    ("old", "new", "have", "called"),
    [
        (None, SPEC, Have("looks"), "create"),
        (None, SPEC, replace(DONE, offered=None), "update"),
        (SPEC, replace(SPEC, context=9), DONE, "update"),
        (SPEC, None, DONE, "remove"),
        (SPEC, replace(SPEC, state="absent"), DONE, "remove"),
        (SPEC, SPEC, DONE, "none"),
        (None, replace(SPEC, state="absent"), Have(), "none"),
    ],
)
def test_what_a_change_is_called(old: ModelSpec | None, new: ModelSpec | None, have: Have, called: str) -> None:
    assert action(old, new, have, foresee(new, have, BROUGHT), None) == called


def test_a_model_whose_every_blob_is_here_is_adopted() -> None:
    here = Fetching("there", 0, 9, (FilePiece("weights", "w", 9, str(A), True),))
    foreseen = foresee(SPEC, Have("looks"), BROUGHT)
    assert action(None, SPEC, Have("looks"), foreseen, here) == "adopt"
    part = replace(here, files=(*here.files, FilePiece("template", "t", 1, str(B), False)))
    assert action(None, SPEC, Have("looks"), foreseen, part) == "create"


def test_the_class_is_the_heaviest_of_the_fields() -> None:
    new = replace(SPEC, system="x", context=9)
    fields = field_changes(SPEC, new)
    assert [(one.name, one.change) for one in fields] == [("context", "reload"), ("system", "live")]
    assert change_class(fields, foresee(new, DONE, BROUGHT), moves=True) == "reload"
    assert change_class((), foresee(SPEC, Have("looks"), BROUGHT), moves=False) == "replace"
    assert change_class((), foresee(SPEC, DONE, BROUGHT), moves=False) == ""


fetches = st.builds(
    Fetched,
    st.sampled_from([SPEC.source, "/other"]),
    st.sampled_from(["looks", "other"]),
    st.sampled_from([A, B]),
    st.sampled_from([A, B]),
)
haves = st.builds(
    Have,
    st.sampled_from(["looks", "other"]),
    st.none() | fetches,
    st.none() | st.builds(Composed, fetches, st.sampled_from([recipe(SPEC, OLD), "x"]), st.just(MANIFEST)),
    st.none() | st.just((SPEC, MANIFEST)),
    st.none() | fetches,
    st.booleans(),
    st.sampled_from(["", str(A), str(B)]),
)


@given(haves, st.sampled_from([None, SPEC, replace(SPEC, system="x"), replace(SPEC, state="absent")]))
def test_every_play_ends_settled_or_at_a_fetch_that_is_refused(have: Have, spec: ModelSpec | None) -> None:
    brought = replace(BROUGHT, identity=have.identity, origin=Digest.parse(have.lock) if have.lock else B)
    foreseen = foresee(spec, have, brought)
    assert len(foreseen.steps) <= 4
    assert isinstance(step(spec, foreseen.end), Settled)
