"""Numbers before pictures: pure functions from models, images and recorded arrays to results."""
