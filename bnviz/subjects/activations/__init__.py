"""What BN does to activations and gradients, over the steps and channel by channel."""
