"""A weight change as a LoRA adapter: its factors, its files, and the weights that it is for."""
