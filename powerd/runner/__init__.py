"""One child process, one deployment: weights, cells, sequences and sampling behind frames on an inherited socket.

`python -m powerd.runner FD` reads a `Load` frame, says `Ready` or `LoadFailed`, and then serves many requests at once:
every step decodes one token for each running sequence and as much of the waiting prompts as keeps the streams smooth.

    __main__    the process: signals, threads, the reading end of the socket, load, exit codes
    outbox      the writing end: never blocks the engine, never loses order
    intake      which thread reads a request's text, and what is answered without the engine
    making      a Generate frame and its text -> a Sequence, or its refusal
    engine      the step loop: admit, decode once for all, sample, report
    adapters    LoRA adapters, and applying a set of them
    turns       which adapter set computes next (pure)
    scheduler   which tokens go into the next batch (pure)
    sequence    what one request has consumed and when it must end (pure)
    window      what stays of a prompt that does not fit and of a full context (pure)
    token       a token, and the interface of what chooses it (pure)
    sampling    the stages of a request's sampler chain (pure)
    chain       that chain in llama.cpp
    extras      what a request asked for beside text: markers, a thinking budget, probabilities (pure)
    thinking    where an answer thinks, and when it has thought long enough (pure)
    constraint  a sampler that draws what a grammar allows
    guide       where an answer stands in its grammar (pure)
    guides      the only import of llguidance: the vocabulary for it, and compiled grammars
    likelihood  probabilities from raw logits
    text        UTF-8 edges and stop strings (pure)
    enginelog   what llama.cpp's log says about the load (pure)
    readback    what the engine really has after a load
    inputs      an Embed frame and its text -> a Job, or its refusal
    embedding   the inputs that become vectors, and the context that makes them
    pooling     parts of an input joined to one vector, and which parts come next (pure)
    contexts    the parameters of llama.cpp's contexts
    shifting    whether a sequence can lose what is not at its end
    backends    the engine's devices, and which of them a load uses
    memory      this process's memory: how much, and having it for certain
    llama       the only import of llama_cpp: model, context, cache
    batch       the memory of a batch
    onejob      a helper process for one job, which quantizing, converting and probing are
    vocabulary  text to tokens and back

Imports `powerd.protocol` and `powerd.errors`, nothing else of powerd. Opens no file but the weights and adapters
it was named.
"""
