"""What strangers may ask over HTTP: one path from bytes to an answer, spoken in several dialects.

`call` is one request, `auth` decides who may ask, `body` reads and `strict` decodes what they sent, `inference` turns
a dialect's wish into text from the fleet, `stream` sends it, `counting` counts a prompt's tokens, `embedding` turns
inputs into vectors (`vectors`: how both are written), `status` says what each failure is in HTTP, `ops` answers
probes and scrapers, `app` puts the routes together. Each dialect is a package of its own (`schema`, `translate`:
pure; `routes`) and knows nothing of the others.

May import reconcile, fleet and everything below them; never control, never the daemon, never llama_cpp.
"""
