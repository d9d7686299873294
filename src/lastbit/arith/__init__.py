"""Integers in, integers out: the arithmetic of the kernels. NumPy only; knows no model."""
