"""What is measured of a model while a sequence edits it (`editcore.config.telemetry`)."""
