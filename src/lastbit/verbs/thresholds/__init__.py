"""The accumulators at which a layer's output changes."""
