"""Ollama's API: requests and replies in its shapes, newline-delimited JSON, errors as `{"error": "..."}`.

`schema` and `translate` are pure; `listing` and `show` describe models; `routes` is what clients call.
"""
