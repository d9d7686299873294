"""Evidence: every rule compared with its interpreter, its rivals refuted by count."""
