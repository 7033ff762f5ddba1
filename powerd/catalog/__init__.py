"""models.yaml as values: text in, a Catalog of ModelSpecs out, or every problem of the file at once.

Owns the language of models.yaml and the fragments beside it: its YAML subset (`loader`), its fields and what changing
each costs (`fields`), the checks across entries (`entries`) and files (`parse`), how a spec is shown and compared
(`show`, `changes`), and the schema that editors check by (`json_schema`). Pure: no file is opened, no clock read; texts
named by an entry come through the `read_file` the caller passes. May import protocol, options, names, digest,
quantities, paths, prompt (is this a template?) and errors; never sources, the store or anything above.
"""
