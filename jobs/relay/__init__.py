"""The relay process: it sends hints, takes jobs back from lost workers, validates uploads and delivers webhooks."""
