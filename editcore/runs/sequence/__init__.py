"""Sequential editing: many edits of one model, measured along the way."""
