"""The verbs of the `ollama` command: arguments, flags and where each is carried out (contract section 13)."""

from __future__ import annotations

from dataclasses import dataclass

from powerd.ctl.flags import Flag, usages

_INSECURE = Flag("insecure", "Use an insecure registry")
_WORDWRAP = Flag("nowordwrap", "Don't wrap words to the next line automatically")
_SHOWN = ("license", "modelfile", "parameters", "template", "system")
_VARIABLES = (
    ("OLLAMA_HOST", "The server to ask (default 127.0.0.1:11434)"),
    ("OLLAMA_NOHISTORY", "Keep no history of what is typed"),
    ("OLLAMA_EDITOR", "The editor of Ctrl-G"),
)


@dataclass(frozen=True, slots=True)
class OllamaVerb:
    """One verb: `least` to `most` arguments (None: any number), `handler` as in `Verb`."""

    name: str
    summary: str
    usage: str
    handler: str
    least: int = 0
    most: int | None = 0
    flags: tuple[Flag, ...] = ()
    aliases: tuple[str, ...] = ()
    variables: int = 1  # how many of the environment variables its help lists

    @property
    def every_flag(self) -> tuple[Flag, ...]:
        """Its flags, and --help."""
        return (*self.flags, Flag("help", f"help for {self.name}", short="h"))

    def wrong_count(self, count: int) -> str:
        """The words of cobra where so many arguments are not what it takes; empty: they are."""
        if self.most is None and count < self.least:
            return f"requires at least {self.least} arg(s), only received {count}"
        if self.most is not None and self.most == self.least != count:
            return f"accepts {self.least} arg(s), received {count}"
        if self.most is not None and not self.least <= count <= self.most:
            return f"accepts between {self.least} and {self.most} arg(s), received {count}"
        return ""

    def help(self) -> str:
        """The text of `ollama help VERB`."""
        flagged = " [flags]" if "[flags]" not in self.usage else ""
        lines = [self.summary, "", "Usage:", f"  ollama {self.usage}{flagged}", ""]
        if self.aliases:
            lines += ["Aliases:", f"  {', '.join((self.name, *self.aliases))}", ""]
        lines += ["Flags:", *usages(self.every_flag)]
        if self.variables:
            lines += [
                "",
                "Environment Variables:",
                *(f"      {name:<24}{what}" for name, what in _VARIABLES[: self.variables]),
            ]
        return "\n".join(lines)


VERBS: tuple[OllamaVerb, ...] = (
    OllamaVerb("serve", "Start the server", "serve", "ollama_calls:serve", aliases=("start",)),
    OllamaVerb(
        "create",
        "Create a model",
        "create MODEL",
        "ollama_calls:create",
        1,
        1,
        (
            Flag("draft-quantize", "Quantize the draft model to this level", "string"),
            Flag("experimental", "Make a model of safetensors as they are"),
            Flag("file", 'Name of the Modelfile (default "Modelfile")', "string", "f"),
            Flag("quantize", "Quantize model to this level (e.g. q4_K_M)", "string", "q"),
        ),
    ),
    OllamaVerb(
        "show",
        "Show information for a model",
        "show MODEL",
        "ollama_calls:show",
        1,
        1,
        (
            *(Flag(part, f"Show {part} of a model") for part in _SHOWN),
            Flag("verbose", "Show detailed model information", short="v"),
        ),
    ),
    OllamaVerb(
        "run",
        "Run a model",
        "run MODEL [PROMPT]",
        "ollama_calls:run",
        1,
        None,
        (
            Flag("dimensions", "Truncate output embeddings to specified dimension (embedding models only)", "int"),
            Flag("format", "Response format (e.g. json)", "string"),
            Flag("hidethinking", "Hide thinking output (if provided)"),
            _INSECURE,
            Flag("keepalive", "Duration to keep a model loaded (e.g. 5m)", "string"),
            _WORDWRAP,
            Flag("think", "Enable thinking mode: true/false or high/medium/low/max", "string", alone="true"),
            Flag("truncate", "For embedding models: truncate inputs exceeding context length"),
            Flag("verbose", "Show timings for response"),
        ),
        variables=3,
    ),
    OllamaVerb("stop", "Stop a running model", "stop MODEL", "ollama_calls:stop", 1, 1),
    OllamaVerb("pull", "Pull a model from a registry", "pull MODEL", "ollama_calls:pull", 1, 1, (_INSECURE,)),
    OllamaVerb("push", "Push a model to a registry", "push MODEL", "ollama_calls:push", 1, 1, (_INSECURE,)),
    OllamaVerb("signin", "Sign in to ollama.com", "signin", "account:signin", aliases=("login",)),
    OllamaVerb("signout", "Sign out from ollama.com", "signout", "account:signout", aliases=("logout",)),
    OllamaVerb("list", "List models", "list [PREFIX]", "ollama_calls:list_models", 0, None, aliases=("ls",)),
    OllamaVerb("ps", "List running models", "ps [PREFIX]", "ollama_calls:ps", 0, None),
    OllamaVerb("cp", "Copy a model", "cp SOURCE DESTINATION", "ollama_calls:cp", 2, 2),
    OllamaVerb("rm", "Remove a model", "rm MODEL [MODEL...]", "ollama_calls:rm", 1, None),
    OllamaVerb("launch", "Launch an integration", "launch [INTEGRATION]", "ollama_calls:launch", 0, None),
)


def find(name: str) -> OllamaVerb | None:
    """The verb of that name or alias."""
    return next((verb for verb in VERBS if name == verb.name or name in verb.aliases), None)


ROOT_FLAGS = (
    Flag("help", "help for ollama", short="h"),
    _WORDWRAP,
    Flag("verbose", "Show timings for response"),
    Flag("version", "Show version information", short="v"),
)


def help_text() -> str:
    """The text of `ollama help`."""
    lines = ["Large language model runner", "", "Usage:", "  ollama [flags]", "  ollama [command]", ""]
    lines += ["Available Commands:", *(f"  {verb.name:<11} {verb.summary}" for verb in VERBS)]
    lines += ["  help        Help about any command", "", "Flags:", *usages(ROOT_FLAGS), ""]
    return "\n".join([*lines, 'Use "ollama [command] --help" for more information about a command.'])
