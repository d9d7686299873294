"""A model on a data set of any size, in any runtime's arithmetic."""
