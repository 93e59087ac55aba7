"""Compares the speed of editcore with the reference implementation, on the same cases."""
