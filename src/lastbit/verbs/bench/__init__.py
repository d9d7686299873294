"""How fast a model runs, beside the real interpreters."""
