"""The figures of the report, and the style that they share."""
