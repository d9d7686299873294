"""A certificate that two runtimes print the same for every input, or where they do not."""
