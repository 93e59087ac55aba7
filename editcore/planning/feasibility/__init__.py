"""Whether a planned study can run on this machine, how long it takes, and what it needs."""
