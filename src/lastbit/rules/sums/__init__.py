"""How products become a sum: pairs that are added in 16 bits."""
