"""Code that `train` and `segment` share: checkpoints, schedule, precision, processes, curves, quarantine."""
