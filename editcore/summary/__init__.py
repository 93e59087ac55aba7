"""From rows to the small tables that the report reads. Imports no torch."""
