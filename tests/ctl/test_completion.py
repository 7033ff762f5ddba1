from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from powerd.ctl.completion import SHELLS, bash
from powerd.ctl.main import main
from powerd.ctl.verbs import VERBS

LIST = "powerctl() { printf 'NAME ID\\ndemo:latest x\\ndemo:v2 x\\nother:latest x\\n'; }"
ASK = (
    'COMP_LINE=$1 COMP_POINT=${#1}; COMP_WORDS=($1); [[ $1 != *" " ]] || COMP_WORDS+=("")\n'
    'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _powerctl; echo "${COMPREPLY[*]}"'
)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("powerctl statu", "status"),
        ("powerctl run oth", "other:latest"),
        ("powerctl run demo:", "latest v2"),
        ("powerctl run demo --hid", "--hidethinking"),
        ("powerctl --socket /s cp d", "demo:latest demo:v2"),
        ("powerctl store gc --gr", "--grace"),
        ("powerctl help rend", "render"),
    ],
)
def test_bash_completes_verbs_flags_and_models(tmp_path: Path, line: str, offered: str) -> None:
    script = tmp_path / "try"
    script.write_text("\n".join([LIST, bash(), ASK]))
    done = subprocess.run(["bash", "--norc", str(script), line], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{offered}\n", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_is_told_every_verb_and_flag(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "powerctl list" in script
    words = set(re.findall(r"[\w-]+", script))
    for verb in VERBS:
        assert verb.name in words
        for action in verb.actions():
            for flag in action.option_strings:
                if flag.startswith("--"):
                    assert (flag[2:] if shell == "fish" else flag) in words, f"{verb.name} {flag}"
