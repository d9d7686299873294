"""The compiled engine: LLVM and Numba code for this machine's CPU."""
