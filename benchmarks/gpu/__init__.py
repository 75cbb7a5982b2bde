"""Everything that a GPU decides, in one command: training, annotators, evaluation, serving, and CPU against GPU."""
