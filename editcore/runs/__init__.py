"""One module or folder for each command that loads a model."""
