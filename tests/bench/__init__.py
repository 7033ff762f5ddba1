"""What powerd costs beside the bare engine, measured. `python -m tests.bench` prints one JSON object a line.

Not part of the test suite: its figures depend on the machine, and are read by people and by the release check.
"""
