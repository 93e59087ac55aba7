"""The HTML page: its text, tables, and explorer of cases."""
