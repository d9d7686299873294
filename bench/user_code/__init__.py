"""Implementations of quantized layers as users write them: NumPy, loops, C put into Python.

Nothing here imports anything of LastBit. Each is written in the spirit of a public thread that its case names; no
code is copied from there. What is wrong in each was written down before `lastbit diagnose` was run on any of them.
"""
