"""reconcile makes what is into what models.yaml wants, one name at a time.

It owns the accepted generation, the conditions and back-off of every declared model, and the library: which names
can be served, in the order declared, alias, installed, lower stores. It may import fleet, store, sources and
everything below; nothing of HTTP.

    watch        stable bytes of models.yaml            history      accepted generations on disk
    step         (want, have) -> the next step, pure    conditions   what status says of a model, pure
    offer        a servable name                        compose      spec + weights -> manifest and offer
    library      lookup and listing                     act          the hands: one step taken
    bulletin     events and node conditions             reconciler   one task per name, level-triggered
    create       a model of another one or of files     creation     its request and small texts, pure
    ingredients  its layers, files checked              quantizing   full precision -> smaller, in a helper
    generation   readings -> accepted catalogs          records      a generation as it is kept, pure
    rollback     a kept generation served again         updates      sources asked again, on request
    lock         models.lock.yaml, pure                 pin          the bytes a fetch is held to
    plan         the steps, foretold, pure              planning     what a plan is made of, gathered
    departures   the blobs nothing will need            standstill   the same without a daemon
    diff         file, accepted and actual, pure        keeping      blobs of kept generations; collection
    wishes       what the fleet is told, pure           waiting      for those who ask when something is so
    modelfiles   Modelfiles as sources                  acquire      a source -> weights in the store
"""
