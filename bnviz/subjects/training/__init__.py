"""A run while it trains: its controls, loss and accuracy."""
