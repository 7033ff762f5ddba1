from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.modelfile import (
    COMMANDS,
    ROLES,
    Command,
    Modelfile,
    ModelfileError,
    build,
    decode,
    parse,
    quoted,
    semver,
    write,
)

ONE_OF = (
    'command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", '
    '"parameter", "message", or "requires"'
)


def pairs(text: str) -> list[tuple[str, str]]:
    return [(f"{each.name} {each.key}".strip(), each.value) for each in parse(text).commands]


def test_every_command_is_read_in_any_case_and_order() -> None:
    text = """
# a comment
  # another, after blanks
license MIT
From llama3.2
FROM ./mmproj.gguf
TEMPLATE {{ .Prompt }}
SYSTEM You are # not a comment
adapter ./lora.gguf
DRAFT ./draft.gguf
RENDERER qwen3-coder
PARSER\tqwen3-coder
PARAMETER   temperature \t 0.7
parameter stop <|im_end|>
MESSAGE user   hello  there
REQUIRES v0.14.0
"""
    assert pairs(text) == [
        ("license", "MIT"),
        ("from", "llama3.2"),
        ("from", "./mmproj.gguf"),
        ("template", "{{ .Prompt }}"),
        ("system", "You are # not a comment"),
        ("adapter", "./lora.gguf"),
        ("draft", "./draft.gguf"),
        ("renderer", "qwen3-coder"),
        ("parser", "qwen3-coder"),
        ("parameter temperature", "0.7"),
        ("parameter stop", "<|im_end|>"),
        ("message user", "hello  there"),
        ("requires", "v0.14.0"),
    ]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ('"""one\n"two"\n\n three"""', 'one\n"two"\n\n three'),
        ('"""\none\n"""', "\none\n"),
        ('"""a""" b\nc"""', 'a""" b\nc'),
        ('"""crlf\r\nkept"""', "crlf\r\nkept"),
        ('""""""', ""),
        ('""', ""),
        ('" padded "', " padded "),
        ('"say "hi" twice"', 'say "hi" twice'),
        ('"over\nlines"  ', "over\nlines"),
        ('"a" b\nc"', 'a" b\nc'),
        ("'single'", "'single'"),
        ('mid "quotes" stay', 'mid "quotes" stay'),
        ("", ""),
        ("tab\tinside", "tab\tinside"),
        ("no\u00a0break and zero\u200dwidth and \x07bell", "nobreak and zerowidth and bell"),
        ('"closed"\u200b', "closed"),
    ],
)
def test_values_in_every_kind_of_quotes(value: str, read: str) -> None:
    assert pairs(f"FROM x\nSYSTEM {value}\nLICENSE end") == [("from", "x"), ("system", read), ("license", "end")]


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
def test_any_newline_ends_a_line_and_counts_once(newline: str) -> None:
    with pytest.raises(ModelfileError, match=r"^\(line 3\): "):
        parse(newline.join(["FROM x", "", "BAD x"]))
    assert pairs(newline.join(["FROM x", "SYSTEM y", ""])) == [("from", "x"), ("system", "y")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FROM line"),
        ("# nothing", "no FROM line"),
        ("SYSTEM x", "no FROM line"),
        ("FROM x\nFRM y", f"(line 2): {ONE_OF}"),
        ("FROM\n", "(line 1): unexpected EOF: FROM needs a value"),
        ("FROM: x", f"(line 1): {ONE_OF}"),
        ("\n\n=x", f"(line 3): {ONE_OF}"),
        ("FROM x\nMESSAGE tool hi", '(line 2): message role must be one of "system", "user", or "assistant"'),
        ("FROM x\nMESSAGE user", "(line 2): unexpected EOF: MESSAGE user needs a value"),
        ("FROM x\nPARAMETER stop", "(line 2): unexpected EOF: PARAMETER stop needs a value"),
        ("FROM x\nPARAMETER a-b 1", "(line 2): unexpected EOF: PARAMETER needs a name of letters, digits and _"),
        ('FROM x\n\nSYSTEM "open', "(line 3): unexpected EOF: the quotes are not closed at the end of a line"),
        ('FROM x\nSYSTEM """open"', "(line 2): unexpected EOF: the quotes are not closed at the end of a line"),
        ('FROM x\nSYSTEM """" no', "(line 2): unexpected EOF: the quotes are not closed at the end of a line"),
    ],
)
def test_errors_name_their_line_in_the_contracts_words(text: str, message: str) -> None:
    with pytest.raises(ModelfileError) as failure:
        parse(text)
    assert str(failure.value) == message


def test_bytes_are_utf_8_or_utf_16_with_a_mark() -> None:
    text = "FROM x\nSYSTEM Grüße 你好"
    marked = b"\xfe\xff" + text.encode("utf-16-be")
    for data in (text.encode(), text.encode("utf-8-sig"), text.encode("utf-16"), marked):
        assert parse(decode(data)).last("system") == "Grüße 你好"
    for data in (b"FROM \xff", b"\xff\xfeF", "FROM ü".encode("latin-1")):
        with pytest.raises(ModelfileError, match="neither UTF-8 nor UTF-16"):
            decode(data)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", '""'),
        (" padded", '" padded"'),
        ("two\nlines", '"two\nlines"'),
        ('two\n"lines"', '"""two\n"lines""""'),
        ('"quoted"', '""""quoted""""'),
        ("bell\x07", "bell"),
        ('ends """\nFROM evil', '"""ends "" "\nFROM evil"""'),
    ],
)
def test_a_value_is_written_bare_or_in_the_quotes_it_needs(value: str, shown: str) -> None:
    assert quoted(value) == shown


PRINTABLE = st.text(
    st.one_of(st.sampled_from(' \t\n\r"#ab'), st.characters().filter(lambda letter: letter.isprintable())), max_size=40
).filter(lambda text: '"""' not in text)
COMMAND = st.one_of(
    st.builds(Command, st.sampled_from([name for name in COMMANDS if name not in {"parameter", "message"}]), PRINTABLE),
    st.builds(Command, st.just("parameter"), PRINTABLE, st.from_regex(r"[A-Za-z0-9_]{1,9}", fullmatch=True)),
    st.builds(Command, st.just("message"), PRINTABLE, st.sampled_from(ROLES)),
)


@given(st.lists(COMMAND, max_size=6), PRINTABLE)
def test_what_is_written_reads_as_the_same(commands: list[Command], base: str) -> None:
    modelfile = Modelfile((*commands, Command("from", base)))
    assert parse(write(modelfile)) == modelfile


@given(st.lists(st.sampled_from(['"""', '"', "\n", " ", "FROM evil\n", "x", "\r"]), max_size=12))
def test_no_value_breaks_out_of_its_quotes(pieces: list[str]) -> None:
    modelfile = Modelfile((Command("from", "x"), Command("system", "".join(pieces)), Command("license", "end")))
    again = parse(write(modelfile))
    assert [each.name for each in again.commands] == ["from", "system", "license"]
    assert parse(write(again)) == again


SCRAPS = ["FROM x\n", "SYSTEM ", '"""', '"', "\n", "PARAMETER", " ", "MESSAGE user", "#", "\ufeff", "\x00", "\ud800"]


@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(SCRAPS), max_size=20).map("".join)))
def test_arbitrary_text_is_read_or_refused(text: str) -> None:
    try:
        modelfile = parse(text)
        build(modelfile)
    except ModelfileError:
        return
    assert modelfile.values("from")


@given(st.binary(max_size=64))
def test_arbitrary_bytes_are_text_or_refused(data: bytes) -> None:
    try:
        decode(data)
    except ModelfileError:
        return


def test_a_long_open_quote_takes_linear_time() -> None:
    with pytest.raises(ModelfileError, match=r"\(line 2\)"):
        parse('FROM x\nSYSTEM """' + '"" \n' * 200_000)


# ---------------------------------------------------------------- what a client asks for


def test_build_types_and_gathers_like_ollamas_client() -> None:
    made = build(
        parse(
            "FROM base\nFROM ./mmproj.gguf\nSYSTEM one\nSYSTEM two\nLICENSE a\nLICENSE b\nMESSAGE user hi\n"
            "MESSAGE assistant hello\nPARAMETER temperature 0.5\nPARAMETER num_ctx 4096\nPARAMETER stop <a>\n"
            "PARAMETER stop <b>\nPARAMETER use_mmap true\nPARAMETER mirostat 1\nPARAMETER draft_num_predict 8\n"
            "ADAPTER a.gguf\nADAPTER b.gguf\nREQUIRES v0.14.0\nRENDERER r\nPARSER p\nTEMPLATE t\n"
        )
    )
    assert made.sources == ("base", "./mmproj.gguf")
    assert made.adapter == "b.gguf"
    assert made.warnings == ("warning: parameter mirostat is deprecated",)
    assert made.fields == {
        "template": "t",
        "system": "two",
        "renderer": "r",
        "parser": "p",
        "license": ["a", "b"],
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
        "requires": "0.14.0",
        "parameters": {
            "temperature": 0.5,
            "num_ctx": 4096,
            "stop": ["<a>", "<b>"],
            "use_mmap": True,
            "draft_num_predict": 8,
        },
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("PARAMETER nope 1", "unknown parameter 'nope'"),
        ("PARAMETER temperature warm", "invalid float value [warm]"),
        ("PARAMETER temperature nan", "invalid float value [nan]"),
        ("PARAMETER temperature 1e999", "invalid float value [1e999]"),
        ("PARAMETER num_ctx 1.5", "invalid int value [1.5]"),
        ("PARAMETER num_ctx ٣", "invalid int value [٣]"),
        ("PARAMETER use_mmap yes", "invalid bool value [yes]"),
        ("REQUIRES soon", "requires must be a valid semver (e.g. 0.14.0)"),
    ],
)
def test_build_refuses_in_the_contracts_words(line: str, message: str) -> None:
    with pytest.raises(ModelfileError) as failure:
        build(parse(f"FROM x\n{line}"))
    assert str(failure.value).endswith(message)


@pytest.mark.parametrize("text", ["1", "1.2", "0.14.0", "1.2.3-rc.1", "1.2.3+build", "v2.0.0"])
def test_versions(text: str) -> None:
    assert semver(text) == text.removeprefix("v")
