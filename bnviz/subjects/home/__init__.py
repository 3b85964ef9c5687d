"""The first page: one figure that answers to a slider."""
