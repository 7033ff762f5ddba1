"""Anthropic's Messages API: `/v1/messages` and its count of tokens.

`schema`, `blocks`, `translate` and `frames` are pure; `routes` is what clients call.
"""
