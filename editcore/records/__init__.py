"""Every table and artefact on disk: schemas, whole-file writing, provenance, checkpoints."""
