"""Tests of editcore; `editcore.testing.models` builds the small models that they share."""
