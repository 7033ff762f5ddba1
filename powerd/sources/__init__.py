"""Where weights come from: registries, Hugging Face repositories, URLs, local files, the model inside the package.

    upstream   dryrun                  what has changed there, and a pull foretold
    resolve   fetch                    the order in which places are asked for a name; one source into the store
    wellknown   remote   configured    the built-in names; a header read from afar; what powerd.yaml says of the way out
    hub   registry                     the Hugging Face hub; Ollama's registries and OCI ones
    transport                          how bytes come over HTTP: the one way out and the one mover
    source                             what a `source:` text means, pure

The three folders are rooms with charters of their own; imports only point down this list, and `hub` and `registry`
know nothing of each other. sources may import store, protocol, names, digest, quantities, settings and errors. A source
names bytes; it never decides what model they become.
"""
