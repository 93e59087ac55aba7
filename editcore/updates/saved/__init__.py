"""A model saved in a folder: its weight files, and the edits that they carry."""
