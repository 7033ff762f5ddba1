"""The short dialect: POST /chat, POST /pull, GET /models and GET /status, as small servers of local models have them.

Owns their requests and answers. May import what is common to all dialects, and no other dialect.
"""
