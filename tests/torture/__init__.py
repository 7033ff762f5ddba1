"""Crash torture of the store (`python -m tests.torture`): a process is killed while it changes a store at random."""
