"""Load a model, run it, build it for many calls."""
