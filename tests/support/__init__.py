"""What tests of several places use: where things are, interpreters, models, the command line."""
