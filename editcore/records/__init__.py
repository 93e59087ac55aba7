"""Every table and artefact on disk: schemas, atomic writing, provenance, checkpoints."""
