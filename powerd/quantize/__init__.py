"""The quantize helper: a process for one job, which writes weights in another type and ends.

It is a process because llama.cpp's call has neither progress nor a way to stop: progress is read from its log, and
stopping is being killed. It imports protocol, log, errors, and the engine through `powerd.runner.llama`.
"""
