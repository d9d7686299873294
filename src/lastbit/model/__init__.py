"""The file as it is: a model's graph, its element types, and what can be wrong with it. No runtime, no arithmetic."""
