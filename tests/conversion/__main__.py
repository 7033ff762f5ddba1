"""`make conversion`: what powerd makes of safetensors against llama.cpp's own converter and transformers' forward pass.

Small models with random weights, one for each architecture and each of its ways; their tokenizers are trained on the
spot. transformers saves them and computes their logits, llama.cpp's script converts them, both in an environment of
their own (torch, transformers, sentencepiece; hundreds of megabytes). Then powerd converts them, every byte and every
metadata field is compared, and the engine's logits and tokens are held to transformers'.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

from tests.conformance.__main__ import WORK, pip, sources
from tests.conversion import compare

NEEDS = (
    "torch",
    "transformers>=5,<6",
    "sentencepiece",
    "protobuf",
    "numpy",
    "safetensors",
    "pyyaml",
    "tqdm",
    "requests",
)
MAKE = Path(__file__).parent / "peer" / "make.py"


def environment() -> Path:
    """The interpreter that has torch and transformers."""
    python = WORK / "torch" / "bin" / "python"
    if not python.exists():
        venv.create(WORK / "torch", with_pip=True)
    pip(python, "install", *NEEDS)
    return python.absolute()


def _compared(folder: Path, name: str) -> bool:
    """Write what differs; whether anything does."""
    made = compare.ours(folder, name)
    found = [*compare.differences(name, made, folder / f"{name}.gguf"), *compare.tokens(made, folder / f"{name}.json")]
    wrong = _told(name, found, *compare.logits(made, folder / f"{name}.npz"))
    if (folder / f"{name}-lora").is_dir():
        adapter, theirs = compare.our_adapter(folder, name, made), folder / f"{name}-lora.gguf"
        found = list(compare.differences(f"{name}-lora", adapter, theirs))
        wrong |= _told(f"{name}-lora", found, *compare.logits(made, folder / f"{name}-lora.npz", adapter))
    return wrong


def _told(name: str, found: list[str], distance: float, same: float) -> bool:
    sys.stdout.write(f"{name}: logits {distance:.3f} apart, {same:.0%} of the maxima the same\n")
    found += ["the logits differ"] if distance > compare.TOLERANCE else []
    sys.stdout.writelines(f"    {what}\n" for what in found)
    return bool(found)


def main(arguments: list[str]) -> int:
    """Compare the models that are named, or all; the exit code."""
    WORK.mkdir(exist_ok=True)
    folder = (WORK / "models").absolute()
    folder.mkdir(exist_ok=True)
    subprocess.run([environment(), MAKE, sources().parent.absolute(), folder, *arguments], check=True)
    failed = json.loads((folder / "failed.json").read_text())
    wrong = 0
    for name in arguments or sorted(path.stem for path in folder.glob("*.json") if path.stem != "failed"):
        wrong += 1 if name in failed else _compared(folder, name)
        if name in failed:
            sys.stdout.write(f"{name}: llama.cpp does not convert it: {failed[name]}\n")
    sys.stdout.write(f"{wrong} differ\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
