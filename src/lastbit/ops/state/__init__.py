"""Operators that keep values from one call to the next."""
