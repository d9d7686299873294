"""Each exact runtime compared with its real interpreter, on a user's own model."""
