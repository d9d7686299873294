"""CPUs that only an emulator has: see README.md and ENGINE.md."""
