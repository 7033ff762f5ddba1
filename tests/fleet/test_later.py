"""Embedding models beside models that chat, and what those come to hold later: transcripts over FleetState."""

from __future__ import annotations

import msgspec
import pytest

from powerd.errors import DoesNotFit
from powerd.fleet.budget import second
from powerd.fleet.terms import FleetConfig
from powerd.fleet.why import why_request
from powerd.protocol import Deployment, DeviceShare
from powerd.vectors import EMBEDDING_CONTEXT
from tests.fleet.play import GIB, Play, embedder, model, read_back, wish, wordy

PROMPT = FleetConfig(min_residency=0.0)


def chatter(name: str, vocab: int, gib: int, *, context: int = 1024, parallel: int = 1) -> Deployment:
    """A model whose second context needs at least 512 bytes a word of its vocabulary."""
    return wordy(model(name, gib, context=context, parallel=parallel), vocab)


# ---------------------------------------------------------------- embedding models


def test_row_47_an_embedding_model_does_not_unload_an_idle_chat_model() -> None:
    play = Play(budget=10, config=PROMPT)
    play.idle(model("a", 10))
    ticket = play.ask(embedder("e"))
    assert play.running() == "a"
    refusal = play.refused[ticket]
    assert isinstance(refusal, DoesNotFit)
    assert "does not fit beside 'a'" in refusal.message
    assert "higher priority" in refusal.message


def test_row_47_it_unloads_other_embedding_models() -> None:
    play = Play(budget=10, config=PROMPT)
    play.idle(model("a", 8))
    play.idle(embedder("e", 2))
    play.ask(embedder("f", 2))
    assert play.running() == "a -e"


def test_row_47_priority_lets_it_unload_a_chat_model() -> None:
    play = Play(budget=10, config=PROMPT)
    play.idle(model("a", 10))
    play.ask(embedder("e"), priority=1)
    assert play.running() == "-a"


def test_row_47_a_chat_model_unloads_an_embedding_model() -> None:
    play = Play(budget=10, config=PROMPT)
    play.idle(embedder("e", 6))
    play.ask(model("a", 6))
    assert play.running() == "-e"


def test_row_47_a_declared_embedding_model_waits_for_room_that_a_chat_model_holds() -> None:
    play = Play(budget=10, config=PROMPT)
    play.idle(model("a", 10))
    play.wish(wish(embedder("e"), loaded=True))
    assert play.running() == "a"


def test_row_47_it_waits_while_a_chat_model_leaves_and_not_beside_its_heir() -> None:
    play = Play(budget=10, config=PROMPT)
    play.idle(model("a", 10))
    play.ask(model("b", 10))
    ticket = play.ask(embedder("e"))
    assert ticket not in play.refused
    play.exit("a")
    assert play.running() == "B"
    assert "does not fit beside 'b'" in play.refused[ticket].message


def test_embedding_models_take_no_seat() -> None:
    play = Play(budget=10, config=FleetConfig(min_residency=0.0, max_loaded_models=1))
    play.idle(model("a"))
    play.idle(embedder("e"))
    play.idle(embedder("f"))
    assert play.running() == "a e f"
    play.ask(model("b"))
    assert play.running() == "-a e f B"


# ---------------------------------------------------------------- the second context


def test_the_second_context_is_promised_once_when_it_is_first_wanted() -> None:
    play = Play(budget=10, config=PROMPT)
    chat = chatter("a", vocab=GIB // 512, gib=4, parallel=3)
    ledger = play.state.board.ledger
    play.idle(chat)
    before = ledger.reserved("cpu")
    play.ask(chat, embeds=True)
    runner = play.runner("a")
    assert ledger.reserved("cpu") == before + runner.later["vectors"].total
    play.ask(chat, embeds=True)
    play.ask(chat)
    assert ledger.reserved("cpu") == before + runner.later["vectors"].total
    assert len(play.granted) == 4


def test_a_second_context_without_room_is_refused_with_the_numbers_and_text_is_still_served() -> None:
    play = Play(budget=4, config=PROMPT)
    chat = chatter("a", vocab=GIB // 256, gib=3, parallel=2)
    play.idle(chat)
    ticket = play.ask(chat, embeds=True)
    assert "makes embeddings in a second context, for which there is no room" in play.refused[ticket].message
    assert "where 1.0 GiB are free" in play.refused[ticket].message
    assert play.ask(chat) in play.granted
    assert play.running() == "a"


def test_an_embedding_model_needs_no_second_context() -> None:
    play = Play(budget=1, config=PROMPT)
    ready = embedder("e")
    play.idle(ready)
    assert play.ask(ready, embeds=True) in play.granted
    assert not play.runner("e").later


def test_the_second_context_is_small_and_lies_where_the_layers_do() -> None:
    chat = chatter("a", vocab=1000, gib=1, context=1 << 17, parallel=8)
    assert (chat.pooled.context, chat.pooled.parallel, chat.pooled.batch) == (EMBEDDING_CONTEXT, 1, 128)
    have = msgspec.structs.replace(read_back(chat), devices={"cpu": DeviceShare(0, 1), "gpu0": DeviceShare(1, 1)})
    need = second(chat, have)
    assert need.by_device["gpu0"] >= 4 * 128 * 1000
    assert need.by_device["cpu"] < 4 << 20
    assert second(chat, None).by_device.keys() == {"cpu"}


# ---------------------------------------------------------------- answers held to a grammar


def test_the_table_for_grammars_is_promised_once_and_beside_a_second_context() -> None:
    play = Play(budget=10, config=PROMPT)
    chat = chatter("a", vocab=150_000, gib=4, parallel=4)
    ledger = play.state.board.ledger
    play.idle(chat)
    before = ledger.reserved("cpu")
    play.ask(chat, masked=True)
    play.ask(chat, masked=True)
    runner = play.runner("a")
    promised = runner.later["masks"].total + runner.later["arrays"].total
    assert ledger.reserved("cpu") == before + promised
    assert 60 << 20 < promised < 100 << 20
    play.ask(chat, masked=True, embeds=True)
    assert ledger.reserved("cpu") == before + promised + runner.later["vectors"].total


def test_the_library_of_arrays_is_promised_once_for_probabilities_and_grammars() -> None:
    play = Play(budget=10, config=PROMPT)
    chat = chatter("a", vocab=150_000, gib=4, parallel=4)
    ledger = play.state.board.ledger
    play.idle(chat)
    before = ledger.reserved("cpu")
    assert play.ask(chat, likely=True) in play.granted
    assert ledger.reserved("cpu") == before + (22 << 20)
    play.ask(chat, masked=True)
    runner = play.runner("a")
    assert ledger.reserved("cpu") == before + (22 << 20) + runner.later["masks"].total


def test_a_grammar_without_room_is_refused_with_the_numbers_and_text_is_still_served() -> None:
    play = Play(budget=4, config=PROMPT)
    chat = chatter("a", vocab=3 << 20, gib=3, parallel=2)
    play.idle(chat)
    ticket = play.ask(chat, masked=True)
    assert "holds answers to a schema with a table, for which there is no room" in play.refused[ticket].message
    assert not play.runner("a").later, "what else it would have taken is not promised"
    assert play.ask(chat) in play.granted


@pytest.mark.parametrize("context", [1, 100, 2048])
def test_the_second_context_is_never_larger_than_the_first(context: int) -> None:
    small = model("a", context=context).pooled
    assert (small.context, small.batch) == (context, min(128, context))


# ---------------------------------------------------------------- who leaves for either


def asking(play: Play, chat: Deployment, **want: object) -> int:
    """A chat model is loaded and idle, and a request asks it for more memory than is free."""
    play.idle(chat)
    return play.ask(chat, **want)


def test_row_47_for_a_second_context_an_idle_embedding_model_leaves_and_the_request_waits_for_its_memory() -> None:
    play = Play(budget=5, config=PROMPT)
    play.idle(embedder("e", 2))
    ticket = asking(play, chatter("a", vocab=GIB // 512, gib=3), embeds=True)
    assert play.running() == "-e a"
    assert ticket not in play.outcomes
    plain = play.ask(chatter("a", vocab=GIB // 512, gib=3))
    assert plain in play.granted, "who needs no more is not held up"
    play.release(plain)
    play.exit("e")
    assert ticket in play.granted
    assert play.runner("a").later["vectors"].total > GIB


def test_row_47_for_a_second_context_no_idle_chat_model_leaves_unless_its_priority_is_lower() -> None:
    chat = chatter("a", vocab=GIB // 512, gib=3)
    play = Play(budget=5, config=PROMPT)
    play.idle(model("b", 2))
    ticket = asking(play, chat, embeds=True)
    assert "for which there is no room" in play.refused[ticket].message
    assert play.running() == "b a"
    play = Play(budget=5, config=PROMPT)
    play.wish(wish(chat, priority=1))
    play.idle(model("b", 2))
    ticket = asking(play, chat, embeds=True)
    assert play.running() == "-b a"
    play.exit("b")
    assert ticket in play.granted


def test_for_the_table_of_a_grammar_an_idle_chat_model_leaves_but_none_of_higher_priority_pinned_or_busy() -> None:
    chat = chatter("a", vocab=3 << 20, gib=3)

    def played(**other: object) -> tuple[Play, int]:
        play = Play(budget=5, config=PROMPT)
        if other:
            play.wish(wish(model("b", 2), **other))
        play.idle(model("b", 2))
        return play, asking(play, chat, masked=True)

    play, ticket = played()
    assert play.running() == "-b a"
    play.exit("b")
    assert ticket in play.granted
    for other in ({"priority": 1}, {"pinned": True, "loaded": True}):
        play, ticket = played(**other)
        assert ticket in play.refused
        assert play.running() == "b a"
    play = Play(budget=5, config=PROMPT)
    play.ask(model("b", 2))
    play.ready("b")
    ticket = asking(play, chat, masked=True)
    assert ticket in play.refused
    assert play.running() == "b a"


def test_no_more_models_leave_than_must_and_none_where_all_would_not_do() -> None:
    play = Play(budget=6, config=PROMPT)
    play.idle(model("b", 1))
    play.idle(model("c", 1))
    ticket = asking(play, chatter("a", vocab=3 << 20, gib=3), masked=True)
    assert play.running().count("-") == 1
    play.exit("b" if "-b" in play.running() else "c")
    assert ticket in play.granted
    play = Play(budget=6, config=PROMPT)
    play.idle(model("b", 1))
    ticket = asking(play, chatter("a", vocab=9 << 20, gib=4), masked=True)
    assert ticket in play.refused
    assert play.running() == "b a"


def test_a_request_that_waits_for_more_memory_goes_away_or_ends_with_its_runner() -> None:
    play = Play(budget=5, config=PROMPT)
    play.idle(embedder("e", 2))
    chat = chatter("a", vocab=GIB // 512, gib=3)
    ticket = asking(play, chat, embeds=True)
    play.cancel(ticket)
    play.exit("e")
    assert not play.runner("a").later
    again = play.ask(chat, embeds=True)
    assert again in play.granted


def test_a_second_context_takes_no_memory_that_a_request_before_it_waits_for() -> None:
    play = Play(budget=12, config=PROMPT)
    chat = chatter("a", vocab=GIB // 512, gib=4)
    play.wish(wish(chat, loaded=True, pinned=True))
    play.idle(chat)
    play.idle(model("b", 6))
    before = play.ask(model("c", 8))
    ticket = play.ask(chat, embeds=True)
    assert play.running() == "a -b"
    assert "0 B are free" in play.refused[ticket].message
    play.exit("b")
    play.ready("c")
    assert before in play.granted


def test_a_canarys_question_unloads_nobody() -> None:
    play = Play(budget=5, config=PROMPT)
    play.idle(embedder("e", 2))
    ticket = asking(play, chatter("a", vocab=GIB // 512, gib=3), embeds=True, quiet=True)
    assert ticket in play.refused
    assert play.running() == "e a"


def test_two_models_whose_second_contexts_do_not_fit_together_do_not_chase_each_other() -> None:
    play = Play(budget=8, config=PROMPT)
    one, two = (chatter(name, vocab=GIB // 512, gib=3) for name in "ab")
    play.idle(one)
    play.idle(two)
    first = play.ask(one, embeds=True)
    assert first in play.granted
    play.release(first)
    for _ in range(10):
        assert play.ask(two, embeds=True) in play.refused
    assert play.running() == "a b"


def test_whoever_asks_is_told_that_the_request_waits_for_memory_of_models_that_leave() -> None:
    play = Play(budget=5, config=PROMPT)
    play.idle(embedder("e", 2))
    asking(play, chatter("a", vocab=GIB // 512, gib=3), embeds=True, request_id="r")
    assert "'a' is loaded, and waits for the memory of models that leave for embeddings" in why_request(
        play.state.board, "r", play.now
    )


def test_where_the_queue_is_full_nobody_leaves_for_a_request_that_would_have_to_wait() -> None:
    play = Play(budget=5, config=FleetConfig(min_residency=0.0, max_queue=0))
    play.load(embedder("e", 2))
    play.ready("e")
    chat = chatter("a", vocab=GIB // 512, gib=3)
    play.load(chat)
    play.ready("a")
    assert play.ask(chat) in play.granted
    play.release(play.ticket)
    assert play.ask(chat, embeds=True) in play.refused
    assert play.running() == "e a"
