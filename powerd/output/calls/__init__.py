"""Readers of tool calls, one for each way that families of models write them.

May import the pieces, the formats and the marks; knows nothing of templates, thinking or grammars.
"""
