"""One output element, with the real numbers of every step."""
