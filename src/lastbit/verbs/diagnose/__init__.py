"""Which mistakes make a dense layer's output what it is."""
