"""Sends finished studies to experiment trackers, and folders of edited models to the hub."""
