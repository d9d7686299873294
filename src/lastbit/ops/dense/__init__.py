"""Dense layers: one file for each kind of element types, and what the file says of the layer."""
