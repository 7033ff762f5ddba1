"""Every verb of powerctl: its flags, its help and where it is carried out."""

from __future__ import annotations

from powerd.ctl.account_verbs import ACCOUNT_VERBS
from powerd.ctl.file_verbs import FILE_VERBS
from powerd.ctl.parser import Parser, duration
from powerd.ctl.plan_verbs import PLAN_VERBS
from powerd.ctl.run_verb import RUN
from powerd.ctl.shell_verbs import SHELL_VERBS
from powerd.ctl.store_verbs import STORE_VERBS
from powerd.ctl.tell_verbs import TELL_VERBS
from powerd.ctl.verb import Verb, takes_json

_SHOW_PARTS = ("license", "modelfile", "parameters", "system", "template")


def find(name: str) -> Verb | None:
    """The verb of that name or alias."""
    return next((verb for verb in VERBS if name == verb.name or name in verb.aliases), None)


def _status(parser: Parser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-w", "--watch", action="store_true", help="draw it again every second, until Ctrl-C")
    how.add_argument("--json", action="store_true", help="print the whole status object as JSON")


def _apply(parser: Parser) -> None:
    parser.add_argument("--wait", action="store_true", help="answer when every model has settled")
    _timeout(parser, "with --wait: give up after this long (default 60)")
    parser.add_argument("--locked", action="store_true", help="refuse sources that are not in models.lock.yaml")
    takes_json(parser, "the reply")


def _wait(parser: Parser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL", help="NAME or model/NAME; left out: the node")
    parser.add_argument(
        "--for", dest="condition", metavar="CONDITION", required=True, help="for example Ready, Fetched"
    )
    _timeout(parser, "give up after this long (default 60)")
    takes_json(parser, "the reply")


def _timeout(parser: Parser, text: str) -> None:
    parser.add_argument("--timeout", type=duration, default=60.0, metavar="SECONDS", help=text)


def _validate(parser: Parser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help="a models.yaml; left out: the one powerd would read")
    parser.add_argument("--config", metavar="FILE", help="the powerd.yaml to check with it")
    takes_json(parser, "the problems")


def _prefix(parser: Parser) -> None:
    parser.add_argument("prefix", nargs="?", metavar="PREFIX", help="only names that begin with this")
    takes_json(parser, "the rows")


def _render(parser: Parser) -> None:
    _model(parser)
    parser.add_argument("file", metavar="FILE", help="a JSON file of messages, or -")
    takes_json(parser, "the answer of /api/chat")


def _show(parser: Parser) -> None:
    _model(parser)
    one = parser.add_mutually_exclusive_group()
    for part in _SHOW_PARTS:
        one.add_argument(f"--{part}", dest="part", action="store_const", const=part, help=f"print only the {part}")
    one.add_argument("--json", action="store_true", help="print the answer of /api/show as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="metadata and tensors too")


def _pull(parser: Parser) -> None:
    _model(parser)
    _insecure(parser)
    parser.add_argument("--dry-run", action="store_true", help="fetch nothing; say what would be, and whether it fits")
    parser.add_argument("--load", action="store_true", help="load the model afterwards")
    takes_json(parser, "the progress objects, one a line,")


def _push(parser: Parser) -> None:
    _model(parser)
    _insecure(parser)
    parser.add_argument(
        "--destination", default="", metavar="NAME", help="HOST/NAMESPACE/MODEL:TAG to send it to, if not its own name"
    )
    takes_json(parser, "the progress objects, one a line,")


def _insecure(parser: Parser) -> None:
    parser.add_argument("--insecure", action="store_true", help="speak plain HTTP to the registry")


def _create(parser: Parser) -> None:
    _model(parser)
    parser.add_argument("-f", "--file", default="Modelfile", metavar="FILE", help="the Modelfile; - is standard input")
    parser.add_argument("-q", "--quantize", metavar="TYPE", help="make this of full-precision weights, such as Q4_K_M")
    parser.add_argument("--draft-quantize", metavar="TYPE", help="the same of the DRAFT model; needs one")
    takes_json(parser, "the progress objects, one a line,")


def _load(parser: Parser) -> None:
    _model(parser)
    _hold(parser, "keep it for this long; 0, the default: until the next request or change")


def _stop(parser: Parser) -> None:
    _model(parser)
    _hold(parser, "keep it out for this long; 0, the default: until the next request or change")
    parser.add_argument("--force", action="store_true", help="do not let answers under way finish")


def _rm(parser: Parser) -> None:
    parser.add_argument("models", nargs="+", metavar="MODEL", help="what to delete")


def _cp(parser: Parser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="the model")
    parser.add_argument("destination", metavar="DESTINATION", help="its second name")


def _model(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help="the model's name")


def _hold(parser: Parser, text: str) -> None:
    parser.add_argument("--for", dest="hold", type=duration, default=0.0, metavar="DURATION", help=text)


VERBS: tuple[Verb, ...] = (
    Verb(
        "status",
        "state",
        "what is wanted, what is there, and why they differ",
        "Shows the node, every declared model with what is wanted and what is there, fetches under way, conditions "
        "that are not True, and the last events. Exits 1 when something is not as declared.",
        ("status", "status --watch", "status --json"),
        "state:status",
        _status,
    ),
    Verb(
        "apply",
        "state",
        "read models.yaml again now",
        "Has powerd read models.yaml at once, by the path a change of the file takes. The whole file is accepted or "
        "nothing changes. Exits 1 when it is refused, and with --wait also when a model is not as declared in the end.",
        ("apply", "apply --wait --timeout 10m", "apply --locked"),
        "state:apply",
        _apply,
    ),
    Verb(
        "wait",
        "state",
        "wait until a condition is True",
        "Waits until a condition is True of a model, or of the node when no model is named. Exits 0 when it came true, "
        "1 when the time is over.",
        ("wait --for=Ready coder", "wait --for=Fetched model/coder --timeout 1h", "wait --for=Reconciled"),
        "state:wait",
        _wait,
    ),
    Verb(
        "validate",
        "state",
        "check models.yaml without a daemon",
        "Checks models.yaml, and powerd.yaml with it, by `powerd --check`. No daemon needs to run. Exits 1 when "
        "something is wrong.",
        ("validate", "validate ./models.yaml", "validate ./models.yaml --config ./powerd.yaml --json"),
        "validate:validate",
        _validate,
    ),
    *FILE_VERBS,
    *PLAN_VERBS,
    *TELL_VERBS,
    Verb(
        "list",
        "models",
        "the models that can be served (also: ls)",
        "Lists every model that can be served: declared ones, aliases and installed ones.",
        ("list", "ls qwen", "list --json"),
        "models:list_models",
        _prefix,
        ("ls",),
    ),
    Verb(
        "ps",
        "models",
        "the models in memory",
        "Lists the models in memory: where their bytes are, the context each request has, and how long they stay.",
        ("ps", "ps --json"),
        "models:ps",
        _prefix,
    ),
    Verb(
        "show",
        "models",
        "what a model is",
        "Shows a model's architecture, capabilities, parameters, system prompt and licence, or one of its texts.",
        ("show demo", "show demo --template", "show demo --json"),
        "models:show",
        _show,
    ),
    Verb(
        "render",
        "models",
        "the prompt that a model's template makes of messages",
        "Prints the text that would be sent to the model, and generates nothing. FILE holds a list of messages, or an"
        " object as /api/chat takes it; - reads from standard input.",
        ("render demo messages.json", "render demo - < messages.json", "render demo messages.json --json"),
        "render:render",
        _render,
    ),
    Verb(
        "pull",
        "models",
        "fetch a model from its registry",
        "Fetches a model into the store. One that breaks off goes on from where it stopped when pulled again.",
        ("pull llama3.2", "pull hf.co/unsloth/Qwen3-0.6B-GGUF:Q8_0", "pull --dry-run llama3.2:70b"),
        "streams:pull",
        _pull,
    ),
    Verb(
        "push",
        "models",
        "send a model to a registry",
        "Sends a model's blobs and manifest to the registry in its name, or to --destination. What is there already is "
        "not sent again.",
        ("push registry.example.com/team/coder", "push coder --destination registry.example.com/team/coder:v2"),
        "streams:push",
        _push,
    ),
    Verb(
        "create",
        "models",
        "make a model from a Modelfile",
        "Reads a Modelfile, uploads the files it names, and has the model made. FROM names a model, a GGUF file, the "
        "first part of a split one, or a directory of them.",
        ("create mine", "create mine -f ./coder.modelfile", "create small -f Modelfile -q Q4_K_M"),
        "create:create",
        _create,
    ),
    RUN,
    Verb(
        "load",
        "models",
        "bring a model into memory",
        "Loads a model before anybody asks for it.",
        ("load demo", "load demo --for 2h"),
        "models:load",
        _load,
    ),
    Verb(
        "stop",
        "models",
        "unload a model",
        "Unloads a model; answers under way finish first. A declared model comes back with the next request or change.",
        ("stop demo", "stop demo --for 1h", "stop demo --force"),
        "models:stop",
        _stop,
    ),
    Verb(
        "rm",
        "models",
        "delete models",
        "Deletes installed models. A declared model is deleted by taking it out of models.yaml.",
        ("rm llama3.2", "rm old:7b old:13b"),
        "models:rm",
        _rm,
    ),
    Verb(
        "cp",
        "models",
        "give a model a second name",
        "Gives a model a second name; no bytes are copied.",
        ("cp llama3.2 mine",),
        "models:cp",
        _cp,
    ),
    *ACCOUNT_VERBS,
    *STORE_VERBS,
    *SHELL_VERBS,
)
