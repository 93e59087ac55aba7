"""Measures models that something else edited, against the models that they were made from."""
