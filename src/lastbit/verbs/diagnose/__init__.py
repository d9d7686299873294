"""Which mistakes make a layer's output what it is."""
