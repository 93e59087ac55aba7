"""What a person writes: the study file, editor options, and messages about mistakes."""
