"""The experiments on why edits collapse a model."""
