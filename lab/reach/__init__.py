"""Ways to an interpreter that is not here: another Python, an older version, a tape, an emulated CPU."""
