"""reconcile makes what is into what models.yaml wants, one name at a time.

It owns the conditions and back-off of every declared model, and the library: which names can be served, in the order
declared, alias, installed, lower stores. It may import fleet, store, sources and everything below; nothing of HTTP.
Three folders have charters of their own: `planning` sees all of it, `generations` and `health` are what it is built on.

    reconciler   one task per name, level-triggered     step         (want, have) -> the next step, pure
    act          the hands: one step taken              entry        what is known of one name
    conditions   what status says of a model, pure      readback     declared against what the engine has, pure
    offer        a servable name                        compose      spec + weights -> manifest and offer
    library      lookup and listing                     decide       options and shape -> deployment, pure
    acquire      a source -> weights in the store       modelfiles   Modelfiles as sources
    pulls        fetched and sent because asked         updates      sources asked again, on request
    wishes       what the fleet is told, pure           keeping      blobs of kept generations; collection
    create       a model of another one or of files     creation     its request and small texts, pure
    ingredients  its layers, files checked              quantizing   full precision -> smaller, in a helper
    workshop     the helpers' work on the way           drafts       the model beside it that nothing here uses
    automatic    what it gets unasked, pure
"""
