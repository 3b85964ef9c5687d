"""Images of the data set for tables and pages."""

import base64
import io
from functools import lru_cache

import numpy as np


def png(image: np.ndarray) -> str:
    """An image (28, 28) of uint8 as a data URL, dark on light."""
    return _png((255 - image).tobytes(), image.shape)


@lru_cache(maxsize=4096)
def _png(pixels: bytes, shape: tuple[int, int]) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.frombuffer(pixels, np.uint8).reshape(shape)).save(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
