"""The process that keeps jobs moving: sends hints, takes jobs back from lost workers, validates uploads, delivers webhooks."""
