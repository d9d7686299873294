"""Dense layers with float32 activations and integer weights: how rows become integers, and sums real numbers."""
