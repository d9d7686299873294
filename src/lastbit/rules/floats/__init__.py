"""The rules of dense layers that are float32 throughout: an order of operations, as data, and its readers."""
