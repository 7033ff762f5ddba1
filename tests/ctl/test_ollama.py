"""Called as `ollama`: Ollama's command line, requests, tables, sentences and exit codes, over HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from powerd.api.ollama.routes import OLLAMA_VERSION
from powerd.ctl.ollama import SPEAKS
from powerd.ctl.ollama_verbs import VERBS
from tests.ctl.person import Person
from tests.ctl.scripted_daemon import ROOT, ScriptedServer, document, environment, ndjson

Ollama = Callable[..., tuple[int, str, str]]
SHOWN = {"capabilities": ["completion"], "details": {"family": "llama"}, "license": "MIT"}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    with scripted:
        yield scripted


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command: powerctl's entry point, and a link to it."""
    directory = tmp_path_factory.mktemp("bin")
    entry = directory / "powerctl"
    lines = [f"#!{sys.executable} -P", "import sys", f"sys.path.insert(0, {str(ROOT)!r})"]
    entry.write_text("\n".join([*lines, "from powerd.ctl.main import main", "sys.exit(main())"]))
    entry.chmod(0o755)
    (directory / "ollama").symlink_to("powerctl")
    return directory / "ollama"


@pytest.fixture
def ollama(program: Path, server: ScriptedServer, tmp_path: Path) -> Ollama:
    def call(*words: str, stdin: str = "", **extra: str) -> tuple[int, str, str]:
        finished = subprocess.run(
            [program, *words],
            check=False,
            cwd=tmp_path,
            env=environment(**{"OLLAMA_HOST": server.url, "HOME": str(tmp_path), **extra}),
            input=stdin,
            capture_output=True,
            timeout=30,
            text=True,
        )
        return finished.returncode, finished.stdout, finished.stderr

    return call


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nope"], 'unknown command "nope" for "ollama"'),
        (["run"], "requires at least 1 arg(s), only received 0"),
        (["pull"], "accepts 1 arg(s), received 0"),
        (["cp", "a"], "accepts 2 arg(s), received 1"),
        (["serve", "now"], "accepts 0 arg(s), received 1"),
        (["list", "--json"], "unknown flag: --json"),
        (["show", "-x", "m"], "unknown shorthand flag: 'x' in -x"),
        (["run", "m", "--format"], "flag needs an argument: --format"),
        (["create", "m", "-f"], "flag needs an argument: 'f' in -f"),
        (
            ["run", "m", "--verbose=perhaps"],
            'invalid argument "perhaps" for "--verbose" flag: strconv.ParseBool: parsing "perhaps": invalid syntax',
        ),
        (
            ["show", "m", "--license", "--system"],
            "only one of '--license', '--modelfile', '--parameters', '--system', or '--template' can be specified",
        ),
        (["launch", "editor"], "powerd sets up no other programs"),
    ],
)
def test_wrong_usage_exits_one_in_ollamas_words(ollama: Ollama, words: list[str], error: str) -> None:
    code, out, err = ollama(*words)
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {error}")


def test_no_server_is_said_as_ollama_says_it(ollama: Ollama) -> None:
    nowhere = {"OLLAMA_HOST": "127.0.0.1:9"}
    assert ollama("list", **nowhere) == (
        1,
        "",
        "Error: could not connect to ollama server, run 'ollama serve' to start it\n",
    )
    warning = f"Warning: could not connect to a running Ollama instance\nWarning: client version is {SPEAKS}\n"
    assert ollama("--version", **nowhere) == (0, warning, "")


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
def test_a_server_on_every_interface_is_asked_over_loopback(ollama: Ollama, server: ScriptedServer, host: str) -> None:
    server.script["GET /api/version"] = document({"version": OLLAMA_VERSION})
    port = server.url.rpartition(":")[2]
    assert ollama("--version", OLLAMA_HOST=f"{host}:{port}") == (0, f"ollama version is {OLLAMA_VERSION}\n", "")


def test_the_version_is_the_servers(ollama: Ollama, server: ScriptedServer) -> None:
    assert SPEAKS == OLLAMA_VERSION
    server.script["GET /api/version"] = document({"version": OLLAMA_VERSION})
    assert ollama("-v") == (0, f"ollama version is {OLLAMA_VERSION}\n", "")


def test_help_lists_the_verbs_and_explains_each(ollama: Ollama) -> None:
    code, text, _ = ollama("help")
    assert (code, text) == ollama()[:2] == ollama("--help")[:2]
    assert all(f"\n  {verb.name} " in text for verb in VERBS)
    code, text, _ = ollama("help", "run")
    assert (code, text) == ollama("run", "-h")[:2]
    assert "ollama run MODEL [PROMPT] [flags]" in text
    assert '--think string[="true"]' in text
    assert "OLLAMA_HOST" in text


def test_ps_has_ollamas_columns(ollama: Ollama, server: ScriptedServer) -> None:
    def entry(name: str, ends: str, on_gpu: int) -> dict[str, object]:
        sizes = {"size": 1_000_000_000, "size_vram": on_gpu, "context_length": 4096}
        return {"name": name, "digest": "f" * 64, "expires_at": ends, **sizes}

    soon = (datetime.now(UTC) + timedelta(minutes=4, seconds=30)).isoformat()
    server.script["GET /api/ps"] = document(
        {
            "models": [
                entry("a:latest", soon, 1_000_000_000),
                entry("b:latest", "2318-01-01T00:00:00Z", 0),
                entry("c:latest", "2020-01-01T00:00:00Z", 520_000_000),
            ]
        }
    )
    assert ollama("ps")[1].splitlines() == [
        "NAME        ID              SIZE    PROCESSOR          CONTEXT    UNTIL",
        "a:latest    ffffffffffff    1 GB    100% GPU           4096       4 minutes from now",
        "b:latest    ffffffffffff    1 GB    100% CPU           4096       Forever",
        "c:latest    ffffffffffff    1 GB    48%/52% CPU/GPU    4096       Stopping...",
    ]
    assert len(ollama("ps", "A")[1].splitlines()) == 2


def test_list_and_show(ollama: Ollama, server: ScriptedServer) -> None:
    server.script["GET /api/tags"] = document(
        {"models": [{"name": "a:latest", "digest": "0" * 64, "size": 3_140_320, "modified_at": "2020-01-01T00:00:00Z"}]}
    )
    assert ollama("ls")[1].splitlines()[1].startswith("a:latest    000000000000    3.1 MB    ")
    server.script["POST /api/show"] = document(SHOWN)
    assert ollama("show", "a", "--license") == (0, "MIT\n", "")
    server.script["POST /api/show"] = document({"error": "model 'b:latest' not found"}, status=404)
    assert ollama("show", "b") == (1, "", "Error: model 'b:latest' not found\n")


def test_run_answers_a_prompt_with_what_is_piped_before_it(ollama: Ollama, server: ScriptedServer) -> None:
    server.script["POST /api/show"] = document(SHOWN)
    server.script["POST /api/generate"] = ndjson({"response": "Hi."}, {"done": True})
    assert ollama("run", "demo", "--think=false", "and", "more", stdin="notes") == (0, "Hi.\n\n", "")
    body = {"model": "demo", "prompt": "notes and more", "options": {}, "think": False}
    assert server.asked[-1] == ("POST /api/generate", body)
    assert ollama("run", "demo", "--keepalive", "-1m")[0] == 0, "no prompt loads the model"
    assert server.asked[-1][1] == {"model": "demo", "prompt": "", "options": {}, "keep_alive": "-1m"}


def test_stop_and_rm_unload_by_keep_alive(ollama: Ollama, server: ScriptedServer) -> None:
    server.script["POST /api/generate"] = document({"done": True})
    server.script["DELETE /api/delete"] = document({})
    assert ollama("stop", "demo") == (0, "", "")
    unload = ("POST /api/generate", {"model": "demo", "prompt": "", "keep_alive": 0})
    assert server.asked == [unload]
    assert ollama("rm", "demo", "other") == (0, "deleted 'demo'\ndeleted 'other'\n", "")
    assert server.asked[1:3] == [unload, ("DELETE /api/delete", {"model": "demo"})]
    server.script["POST /api/generate"] = document({"error": "model 'x' not found"}, status=404)
    server.script["DELETE /api/delete"] = document({"error": "model 'x' not found"}, status=404)
    assert ollama("stop", "x") == (1, "", 'Error: couldn\'t find model "x" to stop\n')
    assert ollama("rm", "x", "y") == (1, "", "Error: model 'x' not found\n")


def test_cp_pull_and_push(ollama: Ollama, server: ScriptedServer) -> None:
    server.script["POST /api/copy"] = document({})
    assert ollama("cp", "a", "b") == (0, "copied 'a' to 'b'\n", "")
    server.script["POST /api/pull"] = ndjson({"status": "pulling manifest"}, {"status": "success"})
    assert ollama("pull", "a", "--insecure") == (0, "", "pulling manifest\nsuccess\n")
    assert server.asked[-1][1] == {"model": "a", "insecure": True}
    server.script["POST /api/push"] = ndjson({"status": "success"})
    assert ollama("push", "me/a")[1] == "\nYou can find your model at:\n\n\thttps://ollama.com/me/a\n"


def test_create_reads_a_modelfile_or_takes_what_lies_here(
    ollama: Ollama, server: ScriptedServer, tmp_path: Path
) -> None:
    server.script["POST /api/create"] = ndjson({"status": "success"})
    code, _, err = ollama("create", "mine")
    assert code == 1
    assert "no Modelfile or safetensors files found" in err
    (tmp_path / "Modelfile").write_text("FROM base\nPARAMETER top_k 3\n")
    assert ollama("create", "mine", "-q", "q4_K_M")[0] == 0
    made = {"model": "mine", "from": "base", "parameters": {"top_k": 3}, "quantize": "q4_K_M"}
    assert server.asked[-1] == ("POST /api/create", made)
    assert ollama("create", "mine", "--draft-quantize", "q8_0")[2] == "Error: --draft-quantize requires a DRAFT model\n"


def test_accounts(ollama: Ollama, server: ScriptedServer) -> None:
    server.script["POST /api/me"] = document({"error": "ollama cloud is disabled: the account is unavailable"}, 403)
    code, _, err = ollama("signin")
    assert code == 1
    assert "needs no account" in err
    server.script["POST /api/me"] = document({"error": "unauthorized", "signin_url": "https://ollama.com/connect"}, 401)
    assert "https://ollama.com/connect" in ollama("login")[1]
    server.script["POST /api/me"] = document({"name": "anna"})
    assert ollama("signin") == (0, "You are already signed in as user 'anna'\n", "")
    server.script["POST /api/signout"] = document({"error": "you are not currently signed in"}, 401)
    assert ollama("signout") == (0, "You are not signed in to ollama.com\n", "")
    server.script["POST /api/signout"] = document(None)
    assert ollama("logout") == (0, "You have signed out of ollama.com\n", "")


def test_a_conversation_keeps_ollamas_history(program: Path, server: ScriptedServer, tmp_path: Path) -> None:
    server.script["POST /api/show"] = document(SHOWN)
    server.script["POST /api/generate"] = ndjson({"done": True})
    server.script["POST /api/chat"] = ndjson({"message": {"content": "Hello."}}, {"done": True})
    environ = environment(OLLAMA_HOST=server.url, HOME=str(tmp_path))
    with Person([str(program), "run", "demo"], environ, tmp_path) as person:
        person.sees(">>> ")
        person.type("hi\r")
        person.sees("Hello.")
        person.sees(">>> ")
        person.type("/bye\r")
        assert person.leaves() == 0
    assert (tmp_path / ".ollama/history").read_text() == "hi\n/bye\n"


def test_the_page_says_of_every_verb_and_flag_whether_it_works() -> None:
    page = (ROOT / "powerd/docs/compatibility.md").read_text()
    table = page.partition("## Ollama's command")[2].partition("\n## ")[0]
    told = set(
        re.findall(r"[\w-]+", " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|")))
    )
    for verb in VERBS:
        assert {verb.name, *verb.aliases} <= told
        assert {f"--{flag.name}" for flag in verb.flags} <= told, verb.name
        assert {f"-{flag.short}" for flag in verb.flags if flag.short} <= told, verb.name
