"""What every drive prints: one JSON object of what its client got."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

URL = os.environ["POWERD_URL"]
MODEL = os.environ["POWERD_MODEL"]
EMBEDDER = os.environ["POWERD_EMBEDDER"]
QUESTION = "What is 2 + 3?"
WEATHER = "What is the weather in Paris?"
RESULT = '{"temperature": 21, "condition": "sunny"}'
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def tell(**got: Any) -> None:
    """Print what was got: `chat`, `stream` in pieces, the `called` city, the `answer` to that, `vector`'s length."""
    sys.stdout.write("\n" + json.dumps(got) + "\n")
