"""The reference pages, installed with the package: Markdown, and no code to import."""
