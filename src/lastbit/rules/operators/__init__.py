"""Rules of the operators around dense layers, as data, and their readers."""
