"""From a conversation and a template to the text the model continues. Pure: values in, text out, the clock is a value.

Owns which template is used (`choose`), how Jinja and Go templates run (`jinja`, `gotemplate`) and fail (`failed`,
`check`), those for models that bring none (`named`, `generic`), how a neutral conversation looks to a Jinja template
(`conversation`, `mapping`) and to a Go template (`turns`), how either learns of the wish to think (`thinking`), and
what a model can do as far as header and template tell (`capabilities`).

May import protocol and errors, and Jinja2. Templates run in the `powerd.render` children, because one cannot be
stopped from inside; the daemon itself never imports `conversation` or `turns`. It reads Go templates, and of Jinja ones
the syntax of those that models.yaml holds.
"""
