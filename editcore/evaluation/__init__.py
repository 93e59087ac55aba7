"""Measuring edited models: overlay, perplexity, teacher forcing, generation, metrics, lm-eval."""
