"""What may be done to an edited model later: its weights are rounded, pruned or fine-tuned."""
