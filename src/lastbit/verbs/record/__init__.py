"""record: what a person runs on a board, a phone or a Pi, and what LastBit makes of what comes back."""
