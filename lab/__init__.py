"""The laboratory beside the package: it asks real interpreters and records what they print. See README.md."""
