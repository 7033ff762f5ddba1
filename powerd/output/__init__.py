"""From the text a model writes to what it means: content, thinking and tool calls. Pure: text in, pieces out.

Owns which format a model speaks, recognised from its template (`recognise`); the streaming readers of thinking and, in
`calls`, of every family's tool calls; and, in `grammars`, what keeps answers and arguments within a JSON schema.

Every reader takes text as it comes, cut anywhere, and gives the same pieces for every cut; takes time linear in the
text; never raises; and never loses text: what it cannot read as a call comes back as content.

May import protocol and errors.
"""
