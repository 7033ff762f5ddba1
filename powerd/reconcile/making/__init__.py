"""making is how a model is made of bytes: of weights and a spec, of files and a request, of a Modelfile, of adapters.

It writes blobs and manifests, and decides nothing of when. It may import reconcile's `decide`, `offer`, `reach`, `step`
and `written`, fleet, store, sources and everything below; nothing of reconcile that asks for work.

    compose      spec + weights -> manifest and offer   layers       a manifest's entries for blobs
    ingredients  the layers of a model, files checked   creation     a create request and its small texts, pure
    workshop     the helpers' work on the way           job          a file made by a helper, checked and kept
    converting   safetensors -> GGUF, in a helper       quantizing   full precision -> smaller, in a helper
    automatic    what it gets unasked, pure             drafts       the model beside it that nothing here uses
    modelfiles   Modelfiles as sources                  traits       what holds for all that is made of a model
    lora         whether an adapter fits                lora_sources where adapters come from
    adapters     those of a spec; who loads and applies them
"""
