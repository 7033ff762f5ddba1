"""powerctl: what an operator types, and what they read.

It asks the daemon over the control socket and prints the answer; it decides nothing itself. It imports the standard
library, msgspec and `powerd.control.schema`, and nothing else of the daemon, so that a verb answers within a fifth of a
second. `words`, `report`, `card` and `progress` are pure.
"""
