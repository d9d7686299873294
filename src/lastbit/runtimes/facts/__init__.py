"""Condensed evidence, generated: see CONTRIBUTING."""
