"""Everything that changes weights: losses, penalties, updates of D and G, optimizers, schedules, EMA, ranks."""
