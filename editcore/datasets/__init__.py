"""Reads facts, texts and tasks from files, writes facts, and finds the bundled files."""
