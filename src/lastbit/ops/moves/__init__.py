"""Operators that move values and calculate nothing."""
