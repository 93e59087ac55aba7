"""The papers' published numbers, side by side with a study's own."""
