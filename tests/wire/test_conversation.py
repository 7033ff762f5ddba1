"""Conversations with the demo model at a real terminal, over the control socket and, called as `ollama`, over HTTP."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ctl.person import Person
from tests.ctl.scripted_daemon import ROOT, environment
from tests.wire.powerd_process import Powerd

DEMO = "models:\n  demo: {source: 'builtin:demo'}\n"


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    with Powerd(tmp_path_factory.mktemp("powerd"), models=DEMO) as running:
        running.wait("Fits", "demo")
        yield running


@pytest.fixture(params=["powerctl", "ollama"])
def person(powerd: Powerd, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Person]:
    entry = tmp_path / request.param
    lines = [f"#!{sys.executable}", "import sys", f"sys.path.insert(0, {str(ROOT)!r})"]
    entry.write_text("\n".join([*lines, "from powerd.ctl.main import main", "sys.exit(main())"]))
    entry.chmod(0o755)
    environ = environment(HOME=str(tmp_path), POWER_SOCKET=str(powerd.socket), OLLAMA_HOST=powerd.url)
    environ = {key: value for key, value in environ.items() if key != "OLLAMA_NOHISTORY"}
    with Person([str(entry), "run", "demo", "--think=false"], environ, Path(os.sep)) as somebody:
        yield somebody


def test_the_model_remembers_and_can_be_saved(person: Person, powerd: Powerd) -> None:
    for line, seen in (
        ("/set parameter temperature 0", "Set parameter"),
        ("My name is Anna.", "Anna"),
        ("What is my name?", "Anna"),
        ("/save anna", "Created new model 'anna'"),
        ("/load anna", "Loading model 'anna'"),
    ):
        person.sees(">>> ")
        person.type(f"{line}\r")
        person.sees("\n")  # the echo of the line
        person.sees(seen)
    person.sees(">>> What is my name?")
    person.sees("\n>>> ")
    person.type("/set think\r")
    person.sees("Set 'think' mode.")
    person.sees(">>> ")
    person.type("What is my name?\r")
    person.sees("...done thinking.")
    person.sees("Anna")
    person.sees(">>> ")
    person.type("\x04")
    assert person.leaves() == 0
    assert powerd.powerctl("rm", "anna").returncode == 0


def test_ctrl_c_ends_a_real_answer(person: Person) -> None:
    person.sees(">>> ")
    for option in ("num_predict 100000", "temperature 0"):
        person.type(f"/set parameter {option}\r")
        person.sees(">>> ")
    person.type("Count from 1 to 100.\r")
    person.sees("\n")
    person.interrupts(">>> ")
    person.type("What is 2 + 3?\r")
    person.sees("\n")
    # What it answers hangs on how far it had counted.
    assert person.sees(">>> ").removesuffix(">>> ").strip()
    person.type("/bye\r")
    assert person.leaves() == 0
