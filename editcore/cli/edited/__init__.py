"""The commands on edited models: write an edit to a folder or export it, and read what is there."""
