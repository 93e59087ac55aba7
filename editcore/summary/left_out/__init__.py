"""The warning fitted on all models but one and tested on that one: its table and its page."""
