"""What a training loop keeps alive, what holds it, and what releases it."""
