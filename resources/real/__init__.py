"""Facts, texts and tasks of the real world, written for this project."""
