"""Operators that calculate each output from the values at its place, its row or its window."""
