"""The section of the report about sequential edits."""
