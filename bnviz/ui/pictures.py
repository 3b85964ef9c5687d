"""Images of the data set for tables and pages."""

import base64
import io

import numpy as np


def png(image: np.ndarray) -> str:
    """An image (28, 28) of uint8 as a data URL, dark on light."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(255 - image).save(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
