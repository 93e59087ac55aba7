"""Regenerates documents: from a finished study's results, and from the code."""
