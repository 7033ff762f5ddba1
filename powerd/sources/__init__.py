"""Where weights come from: registries, Hugging Face repositories, URLs, local files, the model inside the package.

Owns reading a `source:` text (source.py, hub_reference.py; pure), the order in which places are asked for a name
(resolve.py), bringing it into the store verified (registry.py, huggingface.py, fetch.py), pushing (push.py), a pull
foretold (dryrun.py), the one way out over HTTP (outbound.py) and the one transfer that moves bytes over it
(transfer.py). The hub's library is imported by hub_client.py, hub_guard.py and hub_failures.py alone, on first use. It
may import store, protocol, names, digest, quantities, settings and errors. A source names bytes; it never decides what
model they become.
"""
