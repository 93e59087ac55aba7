"""From rows to the small tables that the report reads; imports no torch."""
