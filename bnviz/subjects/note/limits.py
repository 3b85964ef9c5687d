"""What the measurements of the note take by default and at most. Without torch, for the commands."""

SEEDS = (0, 1, 2)
STEPS, MOST_STEPS = 600, 20_000
"""Optimizer steps of each run of the ablation."""
LOSS_STEPS = 100
"""Last steps whose mean loss is the training loss of a run; it has so many at least."""
MOST_EPOCHS = 5
"""So many the note prints."""
