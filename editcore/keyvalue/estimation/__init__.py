"""Estimates the second moment C: the texts, the sums of k kᵀ, when to stop, and the time."""
