"""What concerns the process that a command runs in: Ctrl-C, and what it used."""
