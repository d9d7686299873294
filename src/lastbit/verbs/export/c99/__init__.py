"""The C99 reader of rules: no standard library, no floats where integers do, nothing that the standard leaves open."""
