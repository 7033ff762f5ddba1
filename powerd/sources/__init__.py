"""Where weights come from: the model inside the package, a local file, a URL.

Owns reading a `source:` text (source.py, pure), fetching it into the store verified (fetch.py and one module per kind),
and the one transfer that moves bytes over HTTP (transfer.py). It may import store, protocol, names, digest, quantities
and errors. A source names bytes; it never decides what model they become.
"""
