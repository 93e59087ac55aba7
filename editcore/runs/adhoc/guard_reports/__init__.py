"""The outcome of guarded edits in the formats that pipelines read."""
