"""What a user writes: the study file and editor options, and messages about mistakes in them."""
