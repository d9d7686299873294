"""Few inputs of a layer that tell its arithmetic from every other."""
