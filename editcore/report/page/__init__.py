"""The HTML page: its text, its tables, and the explorer of cases."""
