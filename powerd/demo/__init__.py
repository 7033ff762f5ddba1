"""The demonstration model that comes with powerd, so that a machine without a network can serve something at once.

Owns `tiny-chat-q8_0.gguf` (what `source: builtin:demo` names), its card `CARD.md`, and `recipe/`, the scripts that made
it. There is no code to import here; the recipe is not installed with the package.
"""
