"""Long checks that no test runs: whole folders of models, damaged files, converters, a release."""
