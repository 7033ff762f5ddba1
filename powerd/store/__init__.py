"""Models on disk: blobs, manifests and GGUF headers, in Ollama's layout.

Owns `<store>/blobs`, `<store>/manifests` and `<store>/.powerd`, and is the only code that writes there. Reads other
Ollama directories (lower stores) and never writes them. Everything blocks: callers use threads. A model or blob is
visible only when it is complete, checked and on disk.

May import protocol, names, digest, quantities and errors.
"""
