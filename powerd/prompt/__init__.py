"""From a conversation and a template to the text the model continues. Pure: values in, text out, the clock is a value.

Owns which template is used (`choose`), how Jinja chat templates run (`jinja`), the one for models that bring none
(`generic`), how a neutral conversation looks to a template (`conversation`), and what a model can do as far as its
header tells (`capabilities`).

May import protocol and errors, and Jinja2. Templates run in the `powerd.render` children, because one cannot be
stopped from inside; the daemon itself never imports `jinja` or `conversation`.
"""
