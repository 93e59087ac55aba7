"""Races between the fast way and the plain one, on the same cases, in one process."""
