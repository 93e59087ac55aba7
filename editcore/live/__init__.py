"""A running study as text: what runs, what is left and what was found so far."""
