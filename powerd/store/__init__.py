"""Models on disk: blobs, manifests and GGUF headers, in Ollama's layout.

Owns `<store>/blobs`, `<store>/manifests` and `<store>/.powerd`, and is the only code that writes there. Reads other
Ollama directories and Hugging Face caches (lower stores) and never writes them. Everything blocks: callers use threads.
A model or blob is visible only when it is complete, checked and on disk; it goes only when nothing names, pins or
leases it.

May import protocol, names, digest, quantities and errors.
"""
