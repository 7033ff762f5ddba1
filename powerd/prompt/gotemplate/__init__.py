"""Go templates, as far as Ollama's models use them (contract section 7.2). Pure: text and values in, text out.

Owns the language: `lexer` (characters to tokens), `parser` (tokens to `nodes`, every fault with its line), `evaluate`
(nodes and values to text, with steps and output counted), `values` (what Go would say of a value), `functions` and
`printf` (the functions a template may call), and `survey` (which names a template uses, and its cut at `.Response`).
It knows nothing of conversations.

May import `powerd.prompt.failed`. Parsing ends in time linear in the text, so the daemon may parse; templates run in
the render helpers only.
"""
