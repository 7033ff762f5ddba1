"""llama.cpp's own server, asked what it makes of templates: `python peer.py FOLDER MODEL BODIES OUT`.

Runs alone in an environment that has xllamacpp, and imports nothing of ours. BODIES is a JSON file of request bodies
by name; OUT becomes a JSON file of prompts by template and name, null where the server refuses.
"""

from __future__ import annotations

import importlib
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


def ask(address: str, body: Any) -> str | None:
    """What `/apply-template` answers; None for a refusal."""
    request = urllib.request.Request(f"{address}/apply-template", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            prompt: str = json.load(answer)["prompt"]
            return prompt
    except urllib.error.HTTPError:
        return None


def serve(xllamacpp: Any, model: str, template: str) -> Any:
    """A server with this chat template in the place of the model's."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.chat_template = template
    params.use_jinja = True
    params.port = 0
    params.n_ctx = 256
    params.n_parallel = 1
    params.warmup = False
    params.cpuparams.n_threads = 1
    return xllamacpp.Server(params)


def main(folder: str, model: str, bodies: str, out: str) -> None:
    """Ask every template of the folder for every conversation."""
    xllamacpp = importlib.import_module("xllamacpp")
    asked = json.loads(Path(bodies).read_text())
    told: dict[str, dict[str, str | None]] = {}
    for path in sorted(Path(folder).glob("*.jinja")):
        server = serve(xllamacpp, model, path.read_text())
        told[path.stem] = {kind: ask(server.listening_address, body) for kind, body in asked.items()}
    Path(out).write_text(json.dumps(told, ensure_ascii=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
