"""What people ask for: a folder for each verb. `verb.py` asks, `report.py` is the answer as data and as text."""
