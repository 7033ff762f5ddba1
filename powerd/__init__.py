"""powerd keeps a machine's language models as its owner declared them in one YAML file, and serves them.

The shape, from top to bottom; imports only ever point down (tests/test_architecture.py holds the table):

    daemon                             composition root
    api   control                      what strangers and the operator may ask
    reconcile                          makes what is into what is wanted, one name at a time
    fleet   store   sources            runners in memory, bytes on disk, where bytes come from
    catalog   modelfile   prompt       pure: models.yaml, Modelfiles, templates
    protocol   vectors   options   names   digest   hosts   settings   metrics   log
    errors

Beside them stand the children: `runner` (one process per deployment), `render` (templates, killable), `quantize` and
`convert` (one process per job), and `powerctl` in `ctl`.
"""

__version__ = "0.1.0"
