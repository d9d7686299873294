"""Operators that add up products: convolutions and products of matrices."""
