"""Tests of editcore; `tests.models` builds the small models that they share."""
