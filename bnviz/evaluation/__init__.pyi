from .inference import Evaluation as Evaluation
from .inference import evaluate as evaluate
from .inference import forward as forward
from .modes import compare_modes as compare_modes
from .modes import layer_drift as layer_drift
from .population import (
    evaluate_with_statistics as evaluate_with_statistics,
)
from .population import (
    population_statistics as population_statistics,
)
from .population import (
    recalibrate as recalibrate,
)
