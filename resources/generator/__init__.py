"""Makes the bundled world: facts, running text, tasks, and two models trained on them."""
