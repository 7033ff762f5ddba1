"""OpenAI's API: chat completions, completions, embeddings, responses and the list of models.

`schema` and `translate` are pure; `routes` is what clients call. `responses` has a folder of its own.
"""
