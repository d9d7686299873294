"""Recorders of the files in tests/recorded: what real interpreters and converters print."""
