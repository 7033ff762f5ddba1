"""Ollama's registries and OCI ones: pulling and pushing by the distribution protocol, every byte verified.

It may import `transport` and `source` of its neighbours, and store, names, digest, quantities and errors, and nothing
of `hub`.

    pull         a model into the store           push          a model of the store to a registry
    ticking      progress as status objects       upload        one blob of it
    repository   manifests and blobs of one model on one registry
    credentials  what to say when asked           challenge     what a 401 asks for, pure
    signing      the key we are known by; its library is imported on first use
"""
