"""A file for each operator, or few that are alike: `operator_cases` of every one goes to the recorder and collector."""
