"""export: a layer or a whole model as code that prints what its runtime prints."""
