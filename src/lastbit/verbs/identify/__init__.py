"""Which runtime printed some numbers."""
