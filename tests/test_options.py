"""Options: every name, its type in Ollama's words, its range, and what a request's layer does to the others."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.errors import BadRequest
from powerd.options import ALL_OPTIONS, GONE, RUNNER_FIELDS, SAMPLING_OPTIONS, UNUSED_IN_REQUESTS, check, merge
from powerd.protocol import Sampling

NUMBERS = [name for name, option in ALL_OPTIONS.items() if option.kind in (int, float)]
FLOATS = [name for name, option in ALL_OPTIONS.items() if option.kind is float]
INTEGERS = [name for name, option in ALL_OPTIONS.items() if option.kind is int]
BOOLEANS = [name for name, option in ALL_OPTIONS.items() if option.kind is bool]
WORD = {float: "float32", int: "integer", bool: "boolean"}


def refusal(name: str, value: object) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        check({name: value})
    assert caught.value.param == f"options.{name}"
    assert f'"{name}"' in caught.value.message
    return caught.value


# ---------------------------------------------------------------- types


@pytest.mark.parametrize("name", [*NUMBERS, *BOOLEANS])
@pytest.mark.parametrize("value", ["5", "", [], [1], {}, {"a": 1}])
def test_h02_a_wrong_type_has_ollamas_text(name: str, value: object) -> None:
    kind = WORD[ALL_OPTIONS[name].kind]
    assert refusal(name, value).message == f'option "{name}" must be of type {kind}'


@pytest.mark.parametrize("name", NUMBERS)
def test_h02_a_boolean_is_never_a_number(name: str) -> None:
    assert "must be of type" in refusal(name, True).message


@pytest.mark.parametrize("name", BOOLEANS)
@pytest.mark.parametrize("value", [0, 1, 0.0, "true"])
def test_h02_a_number_is_never_a_boolean(name: str, value: object) -> None:
    assert refusal(name, value).message == f'option "{name}" must be of type boolean'


@pytest.mark.parametrize("name", ALL_OPTIONS)
def test_a_null_leaves_the_value_as_it_was(name: str) -> None:
    assert check({name: None}) == {}


@pytest.mark.parametrize("name", INTEGERS)
def test_h03_an_integral_float_is_an_integer(name: str) -> None:
    value = check({name: 1.0})[name]
    assert value == 1
    assert type(value) is int


def test_the_fraction_of_a_float_given_for_an_integer_is_cut_off() -> None:
    assert check({"top_k": 40.9, "seed": -1.5}) == {"top_k": 40, "seed": -1}


@pytest.mark.parametrize("name", FLOATS)
def test_an_integer_is_a_float(name: str) -> None:
    value = check({name: 1})[name]
    assert type(value) is float


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_h03_numbers_that_are_not_finite_are_refused(name: str, value: float) -> None:
    assert refusal(name, value).message == f'option "{name}" must be a finite number'


@pytest.mark.parametrize("name", NUMBERS)
def test_h04_integers_without_end_are_refused(name: str) -> None:
    refusal(name, 10**400)


# ---------------------------------------------------------------- ranges


@pytest.mark.parametrize("name", NUMBERS)
def test_h12_both_ends_of_the_range_hold_and_what_lies_beyond_is_named(name: str) -> None:
    option = ALL_OPTIONS[name]
    assert check({name: option.low})[name] == option.low
    assert check({name: option.high})[name] == option.high
    step = 1 if option.kind is int else 0.5
    for value in (option.low - step, option.high + step):
        if option.kind is float or abs(value) < 2**53:
            message = refusal(name, value).message
            assert "must be between" in message
            assert str(value) in message


@pytest.mark.parametrize("name", ["seed"])
def test_h12_a_seed_may_have_64_bits_and_no_more(name: str) -> None:
    assert check({name: 2**63 - 1}) == {name: 2**63 - 1}
    refusal(name, 2**63)
    refusal(name, -(2**63) - 1)


def test_h12_every_number_has_a_range() -> None:
    for name in NUMBERS:
        option = ALL_OPTIONS[name]
        assert math.isfinite(option.low), name
        assert math.isfinite(option.high), name


@pytest.mark.parametrize("value", [-1, -2, 0, 1, 2**31 - 1])
def test_h12_num_predict_may_be_without_limit(value: int) -> None:
    assert merge({"num_predict": value}).num_predict == value


# ---------------------------------------------------------------- stop


@pytest.mark.parametrize("value", ["\n", 1, True, {"a": "b"}])
def test_a_bare_stop_is_refused_in_ollamas_words(value: object) -> None:
    assert refusal("stop", value).message == 'option "stop" must be of type array'


@pytest.mark.parametrize("value", [[1], ["a", None], [["a"]]])
def test_stops_are_strings(value: object) -> None:
    assert refusal("stop", value).message == 'option "stop" must be of an array of strings'


def test_stops_are_bounded_in_number_and_length() -> None:
    assert len(merge({"stop": ["x"] * 64}).stop) == 64
    refusal("stop", ["x"] * 65)
    assert merge({"stop": ["x" * 256]}).stop == ("x" * 256,)
    refusal("stop", ["x" * 257])
    refusal("stop", ["ü" * 129])


def test_a_stop_that_cannot_be_written_is_refused() -> None:
    assert "stop" in refusal("stop", ["\ud800"]).message


def test_empty_stops_stop_nothing() -> None:
    assert merge({"stop": ["", "a", ""]}).stop == ("a",)


# ---------------------------------------------------------------- layers


def test_the_defaults_are_ollamas() -> None:
    options = merge()
    assert options.sampling == Sampling()
    assert (options.sampling.temperature, options.sampling.top_k, options.sampling.top_p) == (0.8, 40, 0.9)
    assert (options.sampling.repeat_penalty, options.sampling.repeat_last_n, options.sampling.seed) == (1.0, 64, -1)
    assert (options.num_predict, options.num_keep, options.stop, options.num_ctx) == (-1, 4, (), None)


def test_later_layers_win_and_their_nulls_do_not() -> None:
    options = merge({"temperature": 0.2, "top_k": 7, "stop": ["a"]}, {"temperature": None, "top_k": 9, "stop": ["b"]})
    assert (options.sampling.temperature, options.sampling.top_k, options.stop) == (0.2, 9, ("b",))


def test_an_empty_stop_array_takes_the_models_stops_away() -> None:
    assert merge({"stop": ["a"]}, {"stop": []}).stop == ()


def test_h11_unknown_options_are_left_out() -> None:
    assert check({"tfs_z": 1, "n_discard": 5, "grammar": "root ::= x", "": None}) == {}


def test_unused_names_what_the_request_itself_asked_and_nothing_else() -> None:
    assert merge({"num_gpu": 3}, {"num_thread": 2, "num_ctx": 8, "use_mmap": None, "top_k": 1}).unused == (
        "num_thread",
    )
    assert merge({"num_gpu": 3}, {}).unused == ()


def test_options_of_older_ollamas_are_named_whatever_their_type_and_change_nothing() -> None:
    options = merge({"tfs_z": 1}, dict.fromkeys(GONE, "x") | {"num_gqa": None})
    assert options.gone == tuple(sorted(set(GONE) - {"num_gqa"}))
    assert msgspec.structs.replace(options, gone=()) == merge()


def test_every_runner_option_is_known_and_no_sampling_option_is_one() -> None:
    assert set(RUNNER_FIELDS) == set(ALL_OPTIONS) - set(SAMPLING_OPTIONS)
    assert set(RUNNER_FIELDS) - {"num_ctx"} == UNUSED_IN_REQUESTS


def test_every_sampling_field_is_reached_by_its_option() -> None:
    values: dict[str, Any] = {
        name: False if option.kind is bool else option.kind(1)
        for name, option in SAMPLING_OPTIONS.items()
        if name in Sampling.__struct_fields__
    }
    sampling = merge(values).sampling
    assert {name: getattr(sampling, name) for name in values} == values
    assert set(Sampling.__struct_fields__) - set(values) == {"logit_bias"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(ALL_OPTIONS)) | st.text(max_size=6), JSON, max_size=4))
def test_whatever_comes_is_taken_within_its_range_or_refused_by_name(values: dict[str, Any]) -> None:
    try:
        checked = check(values)
    except BadRequest as error:
        assert (error.param or "").removeprefix("options.") in ALL_OPTIONS
        return
    for name, value in checked.items():
        option = ALL_OPTIONS[name]
        if option.kind in (int, float):
            assert type(value) is option.kind
            assert option.low <= value <= option.high
    merge(checked)
