"""The powerd that clients are driven against: one model that chats, one that embeds; and where the clients are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.wire.powerd_process import SCRUBBED, Powerd

ROOT = Path(__file__).parent.parent.parent
#: Where `make clients` puts what it downloads.
INSTALLED = ROOT / ".clients"
MODEL = "quiet:latest"
EMBEDDER = "vectors:latest"
MODELS = f"""models:
  quiet: {{source: 'builtin:demo', think: false, parameters: {{temperature: 0}}}}
  vectors: {{source: '{ROOT}/tests/models/tiny-embed-q8_0.gguf'}}
"""


@contextmanager
def declared_powerd(directory: Path) -> Iterator[Powerd]:
    """It runs, and both models can be asked."""
    with Powerd(directory, models=MODELS) as running:
        running.wait("Fits", "quiet")
        running.wait("Fits", "vectors")
        yield running


def environ(home: Path) -> dict[str, str]:
    """The environment for a client: nobody's keys and settings, and a home of its own."""
    foreign = (*SCRUBBED, "OPENAI_", "ANTHROPIC_", "LITELLM_", "LLM_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {"HOME": str(home)}
