"""powerctl: what an operator types, and what they read.

It asks the daemon over the control socket and prints the answer; it decides nothing itself. Called as `ollama` it is
Ollama's command and asks OLLAMA_HOST over HTTP. It imports the standard library, msgspec, `hosts`, `modelfile`,
`names`, `quantities` and the control schemas, and nothing else of the daemon, so that a verb answers within a fifth of
a second. Pure are `words`, `report`, `card`, `progress`, `question`, `wrap` and `flags`.
"""
