"""A race against another toolkit's own ROME, on the same weights, facts, templates and texts."""
