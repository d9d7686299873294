"""Cut one operator out of a model, as a model of its own."""
