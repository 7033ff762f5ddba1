"""From a conversation and a template to the text the model continues. Pure: values in, text out, the clock is a value.

Owns which template is used (`choose`), how Jinja and Go templates run (`jinja`, `gotemplate`) and fail (`failed`),
those for models that bring none (`named`, `generic`), how a neutral conversation looks to a Jinja template
(`conversation`) and to a Go template (`turns`), and what a model can do as far as header and template tell
(`capabilities`).

May import protocol and errors, and Jinja2. Templates run in the `powerd.render` children, because one cannot be
stopped from inside; the daemon itself never imports `jinja`, `conversation` or `turns`, and only reads Go templates.
"""
