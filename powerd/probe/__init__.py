"""The probe: a process for one question, what the engine can compute on and what a deployment would take of it.

It is a process because a driver or a file that hangs or crashes the engine must not do so to the daemon, and because
what it holds itself is the answer to how much a runner holds before its model. It loads nothing: no byte of the
weights is read and no buffer allocated. It imports protocol, log, errors, and the engine through `powerd.runner`.
"""
