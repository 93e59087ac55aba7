"""Runs on finished edits: tasks on the edited models, and treatments of them."""
