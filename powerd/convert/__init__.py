"""The convert helper: a process for one job, which makes a GGUF of a Hugging Face checkpoint and ends.

It owns what of a checkpoint is read (safetensors, configuration, tokenizer; all of it other people's bytes, held to
limits) and what of it becomes which tensor and which metadata. It imports protocol, jobs, log, errors, the one-job loop
of `powerd.runner`, and the packages numpy and gguf; neither torch nor transformers.
"""
