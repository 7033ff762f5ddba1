"""One child process, one deployment: weights, cells, sequences and sampling behind frames on an inherited socket.

`python -m powerd.runner FD` reads a `Load` frame, says `Ready` or `LoadFailed`, and then serves many requests at once:
every step decodes one token for each running sequence and as much of the waiting prompts as keeps the streams smooth.

    __main__    the process: signals, threads, the reading end of the socket, load, exit codes
    outbox      the writing end: never blocks the engine, never loses order
    intake      a Generate frame -> a tokenised Sequence, or its refusal
    engine      the step loop: admit, decode once for all, sample, report
    scheduler   which tokens go into the next batch (pure)
    sequence    what one request has consumed and when it must end (pure)
    sampling    the stages of a request's sampler chain (pure)
    text        UTF-8 edges and stop strings (pure)
    enginelog   what llama.cpp's log says about the load (pure)
    readback    what the engine really has after a load
    backends    the engine's devices, and which of them a load uses
    memory      this process's memory: how much, and having it for certain
    llama       the only import of llama_cpp: model, context, sampler chains
    batch       the memory of a batch
    onejob      a helper process for one job, which quantizing and probing are
    vocabulary  text to tokens and back

Imports `powerd.protocol` and `powerd.errors`, nothing else of powerd. Opens no file but the weights it was named.
"""
