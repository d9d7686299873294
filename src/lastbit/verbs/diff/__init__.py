"""Two quantized models compared, and why they differ."""
