"""Which average BN should keep: the demo, replays, estimators compared, momentum by batch size."""
