"""generations owns which models.yaml holds: every accepted reading, numbered, and what its models resolved to.

It may import reconcile's `step`, `written`, `conditions` and `making`, the store, and everything below; nothing that
serves a model.

    watch        stable bytes of models.yaml            generation   readings -> accepted catalogs
    history      accepted generations on disk           records      a generation as it is kept, pure
    rollback     a kept generation served again         lock         models.lock.yaml, pure
    pin          the bytes a fetch is held to
"""
