"""reconcile makes what is into what models.yaml wants, one name at a time.

It owns the conditions and back-off of every declared model, and the library: which names can be served, in the order
declared, alias, installed, lower stores. It may import fleet, store, sources and everything below; nothing of HTTP.
Four folders have charters of their own: `planning` sees all of it; `making`, `generations` and `health` are what it is
built on.

    reconciler   one task per name, level-triggered     step         (want, have) -> the next step, pure
    act          the hands: one step taken              entry        what is known of one name
    conditions   what status says of a model, pure      readback     declared against what the engine has, pure
    offer        a servable name                        decide       options and shape -> deployment, pure
    library      lookup and listing                     wishes       what the fleet is told, pure
    reach        where bytes may be had from            written      what was fetched, as it stands on disk, pure
    acquire      a source -> weights in the store       create       a model of another one or of files
    pulls        fetched and sent because asked         updates      sources asked again, on request
    remote       names of models served elsewhere       keeping      blobs of kept generations; collection
"""
