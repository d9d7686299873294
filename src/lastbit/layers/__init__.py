"""Questions about one operator of a model: running it, its table of steps, inputs that separate, mistakes."""
