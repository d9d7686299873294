"""What a file says: operators, scales, what is covered, what breaks the specification."""
