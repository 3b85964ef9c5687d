"""Train mode against eval mode of the same weights, and what to do where they differ."""
