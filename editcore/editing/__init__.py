"""What an editor is, and an editor at work on a loaded model."""
