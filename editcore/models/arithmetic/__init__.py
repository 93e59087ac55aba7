"""How a model computes: in which precision, and by which kernels."""
