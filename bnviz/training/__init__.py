"""Training: one clock for all variants, observers, history, background jobs, stored runs."""
