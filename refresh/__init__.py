"""Fills the numbers of README.md and docs/reproduction.md from a finished study."""
