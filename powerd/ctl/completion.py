"""The verb completion: what a shell needs to finish powerctl's verbs, flags and model names."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Sequence

from powerd.ctl.exits import DONE
from powerd.ctl.terminal import Terminal
from powerd.ctl.verb import Verb
from powerd.ctl.verbs import VERBS

SHELLS = ("bash", "zsh", "fish")
_MODELS = {"MODEL", "SOURCE", "PREFIX", "MODEL|REQUEST"}
_NAMES = "powerctl list 2>/dev/null | awk 'NR > 1 {print $1}'"


def completion(arguments: Namespace, terminal: Terminal) -> int:
    """Print the script for a shell."""
    terminal.line({"bash": bash, "zsh": zsh, "fish": fish}[arguments.shell]())
    return DONE


def bash() -> str:
    """For bash. Names with a colon are taken apart by it, so the part before the colon is left out of what it gets."""
    return f"""\
# bash completion for powerctl
_powerctl() {{
    local line=${{COMP_LINE:0:COMP_POINT}} word verb= words= models= i
    local cur=${{line##*[[:space:]]}}
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        case $word in
        --socket) ((i++)) ;;
        -* | =) ;;
        store) verb= ;;
        *) verb=$word; break ;;
        esac
    done
    case $verb in
    '') words={_quoted(_first())} ;;
    help) words={_quoted(_verbs())} ;;
{_cases("words")}
    esac
    if [[ $cur != -* && $models ]]; then
        words+=" $({_NAMES})"
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    if [[ $cur == *:* ]]; then
        COMPREPLY=("${{COMPREPLY[@]#"${{cur%"${{cur##*:}}"}}"}}")
    fi
}}
complete -o default -F _powerctl powerctl"""


def zsh() -> str:
    """For zsh, as a file named `_powerctl` in a directory of its fpath."""
    return f"""\
#compdef powerctl
# zsh completion for powerctl
_powerctl() {{
    local word verb= flags= models= i
    for ((i = 2; i < CURRENT; i++)); do
        word=${{words[i]}}
        case $word in
        --socket) ((i++)) ;;
        -*) ;;
        store) verb= ;;
        *) verb=$word; break ;;
        esac
    done
    case $verb in
    '') flags={_quoted(_first())} ;;
    help) flags={_quoted(_verbs())} ;;
{_cases("flags")}
    esac
    if [[ $PREFIX != -* && -n $models ]]; then
        compadd -- ${{(f)"$({_NAMES})"}}
    fi
    compadd -- ${{=flags}}
    [[ -z $verb ]] || _files
}}
if [[ $funcstack[1] == _powerctl ]]; then
    _powerctl "$@"
else
    compdef _powerctl powerctl
fi"""


def fish() -> str:
    """For fish."""
    lines = ["# fish completion for powerctl", "function __powerctl_models", f"    {_NAMES}", "end"]
    lines += ["complete -c powerctl -f -n __fish_use_subcommand -a help -d 'explain a verb'"]
    for verb in VERBS:
        for name in (verb.name, *verb.aliases):
            lines.append(f"complete -c powerctl -f -n __fish_use_subcommand -a {name} -d {_quoted(verb.summary)}")
        seen = f"'__fish_seen_subcommand_from {' '.join((verb.name, *verb.aliases))}'"
        if _takes_models(verb):
            lines.append(f"complete -c powerctl -n {seen} -a '(__powerctl_models)'")
        lines += [f"complete -c powerctl -n {seen} {flag}" for flag in _fish_flags(verb)]
    lines.append(f"complete -c powerctl -f -n '__fish_seen_subcommand_from help' -a {_quoted(_verbs())}")
    return "\n".join(lines)


def _fish_flags(verb: Verb) -> list[str]:
    flags = []
    for action in _actions(verb):
        names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in action.option_strings]
        needs = [] if action.nargs == 0 or set(action.option_strings) & set(verb.bare) else ["-r"]
        flags.append(" ".join([*names, *needs, f"-d {_quoted(str(action.help))}"]))
    return flags


def _cases(variable: str) -> str:
    """A line of `case` for each verb: its flags, and whether names of models belong there."""
    return "\n".join(
        f"    {' | '.join((verb.name, *verb.aliases))}) {variable}={_quoted(' '.join(_flags(verb)))}"
        + ("; models=1 ;;" if _takes_models(verb) else " ;;")
        for verb in VERBS
    )


def _first() -> str:
    return f"{_verbs()} help store --socket --version --help"


def _verbs() -> str:
    return " ".join(name for verb in VERBS for name in (verb.name, *verb.aliases))


def _flags(verb: Verb) -> list[str]:
    return [name for action in _actions(verb) for name in action.option_strings if name.startswith("--")]


def _takes_models(verb: Verb) -> bool:
    return any(not action.option_strings and action.metavar in _MODELS for action in verb.actions())


def _actions(verb: Verb) -> Sequence[argparse.Action]:
    return [action for action in verb.actions() if action.option_strings]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "’") + "'"
