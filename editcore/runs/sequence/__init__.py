"""Sequential editing: many edits of one model, measured on the way."""
