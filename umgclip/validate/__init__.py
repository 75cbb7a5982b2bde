"""The `validate` stage: decide whether an annotated dataset is fit to train on.

Great Expectations decides. A rule (`suites.py`) is one expectation with a severity, and a row mask that finds the rows
at fault. A bad row goes to a quarantine file with its reason, and too many of them close the gate.
"""
