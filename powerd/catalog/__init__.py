"""models.yaml as values: text in, a Catalog of ModelSpecs out, or every problem of the file at once.

Owns the language of models.yaml: its YAML subset (`loader`), its fields and what changing each costs (`fields`), the
checks across entries (`parse`), and how a spec is shown and compared (`show`, `changes`). Pure: no file is opened, no
clock read; texts named by an entry come through the `read_file` the caller passes. May import options, names, digest,
quantities and errors; never sources, the store or anything above.
"""
