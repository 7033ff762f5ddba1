"""The verbs about the store, also written `powerctl store VERB`: df, gc, fsck, adopt."""

from __future__ import annotations

from powerd.ctl.parser import Parser, duration
from powerd.ctl.verb import Verb, takes_json


def _df(parser: Parser) -> None:
    takes_json(parser, "the figures")


def _gc(parser: Parser) -> None:
    parser.add_argument(
        "--grace",
        type=duration,
        default=0.0,
        metavar="DURATION",
        help="only what nothing has needed for this long; 0, the default: whatever nothing needs",
    )
    parser.add_argument("--force", action="store_true", help="delete more than max_delete_fraction at once")
    takes_json(parser, "what was deleted")


def _fsck(parser: Parser) -> None:
    parser.add_argument("--repair", action="store_true", help="move corrupt blobs away, so that they are fetched again")
    takes_json(parser, "the report")


def _adopt(parser: Parser) -> None:
    parser.add_argument("path", metavar="PATH", help="an Ollama directory or a Hugging Face cache")
    how = parser.add_mutually_exclusive_group()
    for name, text in (
        ("link", "share the files with our store by reflinks or hard links"),
        ("copy", "copy the files into our store"),
        ("forget", "serve from this directory no longer"),
    ):
        how.add_argument(f"--{name}", dest="how", action="store_const", const=name, default="lower", help=text)
    takes_json(parser, "what was adopted")


STORE_VERBS: tuple[Verb, ...] = (
    Verb(
        "df",
        "store",
        "where the store's bytes are",
        "Shows the bytes of every model and what deleting it would give back, of shared and unneeded blobs, and how "
        "much may still be brought in.",
        ("df", "store df --json"),
        "store:df",
        _df,
    ),
    Verb(
        "gc",
        "store",
        "delete what nothing needs",
        "Deletes blobs that no model, kept generation, running model or work under way needs, and what interrupted "
        "work has left. While one manifest cannot be read, no blob is deleted.",
        ("gc", "gc --grace 1d", "store gc --force"),
        "store:gc",
        _gc,
    ),
    Verb(
        "fsck",
        "store",
        "check every byte of the store",
        "Hashes every blob and reads every manifest, and says what is wrong. Exits 1 when a model is harmed. With "
        "--repair, corrupt blobs are moved to .powerd/corrupt/ in the store; nothing is deleted. `powerd --fsck` does "
        "the same without a daemon.",
        ("fsck", "fsck --repair", "store fsck --json"),
        "store:fsck",
        _fsck,
    ),
    Verb(
        "adopt",
        "store",
        "take over models of Ollama or Hugging Face",
        "Makes the models of an Ollama directory or a Hugging Face cache ours to serve. They stay where they are and "
        "are never written, unless --link or --copy brings them into our store.",
        (
            "adopt /mnt/old/ollama/models",
            "adopt ~/.cache/huggingface/hub",
            "store adopt /mnt/old/ollama/models --copy",
        ),
        "store:adopt",
        _adopt,
    ),
)
