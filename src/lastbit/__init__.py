"""LastBit: what a quantized layer computes on each real runtime, to the last bit."""
