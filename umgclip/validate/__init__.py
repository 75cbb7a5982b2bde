"""The `validate` stage: is an annotated dataset fit to train on?

Great Expectations decides. A rule (`suites.py`) is one expectation, how much it matters, and a row mask that finds the
rows at fault; a bad row goes to a quarantine file with its reason, and too many of them close the gate.
"""
