"""The base class of editors, and an editor at work on a loaded model."""
