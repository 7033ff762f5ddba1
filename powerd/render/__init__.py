"""The child process that runs chat templates, so that one which loops or swells can be killed.

Owns the blocking loop around `powerd.prompt`: jobs in, texts out, one at a time, limits on memory and processor time.
It listens nowhere, opens no file and keeps nothing between jobs but compiled templates.

May import prompt, protocol, log and errors.
"""
