"""The tests: a folder for each place in src/lastbit, and recorded/, live/, project/, lab/ and support/."""
