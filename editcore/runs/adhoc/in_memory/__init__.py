"""Edits of a model that the caller has loaded, for Python programs and notebooks."""
