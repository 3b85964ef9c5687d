"""Units that every room measures in."""

KIB = 2**10
MIB = 2**20
"""Bytes."""
