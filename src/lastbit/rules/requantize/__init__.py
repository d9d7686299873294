"""From an accumulator to an output: the forms, the table of rules, and its readers."""
