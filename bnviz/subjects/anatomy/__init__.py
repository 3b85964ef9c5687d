"""What exactly BN computes, cell by cell, forward and backward."""
