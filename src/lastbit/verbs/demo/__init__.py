"""A tour on a model of a forum's question."""
