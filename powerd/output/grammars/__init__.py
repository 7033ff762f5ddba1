"""Grammars that hold an answer, or the arguments of a call, within a JSON schema.

May import the formats; knows nothing of readers.
"""
