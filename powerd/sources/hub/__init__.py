"""The Hugging Face hub by its own interface, which knows commits, file names, digests and gates.

It may import `transport`, and store, digest, quantities and errors, and nothing of `registry`. Names at hf.co that are
pulled as Ollama pulls them speak the registry protocol and are not its affair.

    reference   what a text names, pure            client     asking the hub's library, which blocks
    files       which files are the model, pure    failures   what its refusals mean
    model       what is configured and found       guard      the limits hung into its client
    pull        finding the files, bringing them into the store

`client`, `failures` and `guard` alone import huggingface_hub; they are imported on first use.
"""
