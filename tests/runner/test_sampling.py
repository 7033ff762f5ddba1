"""Sampler chains: llama.cpp's order, stages without effect left out, seeds that mean what they say."""

from __future__ import annotations

from powerd.protocol import Sampling
from powerd.runner.sampling import Stage, chosen_seed, remembered, stages


def names(sampling: Sampling) -> list[str]:
    return [stage.name for stage in stages(sampling, 100)]


def test_the_defaults_make_ollamas_chain() -> None:
    assert names(Sampling()) == ["top_k", "top_p", "temp", "dist"]


def test_every_stage_stands_in_llama_cpps_order() -> None:
    everything = Sampling(repeat_penalty=1.1, typical_p=0.9, min_p=0.1)
    assert names(everything) == ["penalties", "top_k", "min_p", "typical", "top_p", "min_p", "temp", "dist"]


def test_without_temperature_the_likeliest_token_is_taken_penalties_included() -> None:
    assert names(Sampling(temperature=0, presence_penalty=1, mirostat=2)) == ["penalties", "greedy"]


def test_mirostat_replaces_the_cuts() -> None:
    assert stages(Sampling(mirostat=1, seed=7), 100) == (Stage("temp", (0.8,)), Stage("mirostat", (7, 5.0, 0.1, 100)))
    assert stages(Sampling(mirostat=2, seed=7), 100) == (Stage("temp", (0.8,)), Stage("mirostat_v2", (7, 5.0, 0.1)))


def test_cuts_that_cut_nothing_are_left_out() -> None:
    assert names(Sampling(top_k=0, top_p=1, min_p=0, typical_p=1)) == ["temp", "dist"]


def test_penalties_look_back_as_far_as_asked() -> None:
    assert remembered(Sampling(), 100) == 0
    assert remembered(Sampling(repeat_penalty=1.1), 100) == 64
    assert remembered(Sampling(repeat_penalty=1.1, repeat_last_n=-1), 100) == 100
    assert remembered(Sampling(repeat_penalty=1.1, repeat_last_n=5000), 100) == 100
    assert remembered(Sampling(repeat_penalty=1.1, repeat_last_n=0), 100) == 0


def test_a_seed_is_kept_and_a_negative_one_draws_another_each_time() -> None:
    assert chosen_seed(42) == 42
    assert len({chosen_seed(-1) for _ in range(20)}) > 1


def test_no_seed_turns_into_the_one_llama_cpp_reads_as_random() -> None:
    assert chosen_seed(0xFFFFFFFF) == 0
    assert 0 <= chosen_seed(2**63 - 1) < 0xFFFFFFFF
