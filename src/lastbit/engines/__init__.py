"""What runs a prepared model. `reference` is the definition; any other engine is held against it."""
