"""A change of a model as a value: weight deltas, patches, and surgery on weight files."""
