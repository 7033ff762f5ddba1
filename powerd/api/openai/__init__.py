"""OpenAI's API as far as this version serves it: chat completions, completions and the list of models.

`schema` and `translate` are pure; `routes` is what clients call.
"""
