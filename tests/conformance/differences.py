"""Where a prompt of ours differs from llama.cpp's on purpose, by template and conversation; the causes are told in
`powerd/docs/templates.md`, and a difference that is not listed here, or no longer there, fails `make conformance`."""

from __future__ import annotations

from collections.abc import Mapping

DIFFERENCES: Mapping[str, frozenset[str]] = {
    "ByteDance-Seed-OSS": frozenset({"off"}),
    "Cohere2MoE": frozenset({"off"}),
    "Kimi-K3": frozenset({"off"}),
    "MiniMax-M3": frozenset({"off"}),
    "fireworks-ai-llama-3-firefunction-v2": frozenset({"tools"}),
    "google-gemma-2-2b-it": frozenset({"tools"}),
    "ibm-granite-granite-3.3-2B-Instruct": frozenset({"thinking"}),
    "tencent-Hy3": frozenset({"plain", "tools", "thinking"}),
    "unsloth-mistral-Devstral-Small-2507": frozenset({"thinking", "off"}),
    "upstage-Solar-Open-100B": frozenset({"off"}),
}
