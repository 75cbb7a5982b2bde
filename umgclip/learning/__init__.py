"""What every training here shares: checkpoints, schedule, precision, processes, curves, quarantine."""
