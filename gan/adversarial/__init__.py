"""What moves the weights: losses, penalties, the D step and the G step, optimizers, schedules, EMA."""
