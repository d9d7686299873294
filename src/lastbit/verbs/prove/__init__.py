"""Prove for every input that a runtime's rule is its interpreter's."""
