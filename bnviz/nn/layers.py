"""The layers of LeNet by name, as a plain table. Without torch, so that a stored run can be read."""

LAYERS = {"conv1": 6, "conv2": 16, "fc1": 120, "fc2": 84}
"""The layers that a norm follows, in order, with their channels."""
WEIGHT_LAYERS = (*LAYERS, "out")
"""The layers with weights, in order."""
POSITIONS = {"conv1": 24 * 24, "conv2": 8 * 8, "fc1": 1, "fc2": 1}
"""How many values of a channel an image has where the norm stands."""
