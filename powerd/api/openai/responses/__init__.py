"""OpenAI's Responses API without its memory: every request brings the whole conversation (contract section 11.5).

Everything here is pure; the route stands beside the others in `powerd.api.openai.routes`.
"""
