from .graph_census import GraphCensus as GraphCensus
from .graph_census import census as census
from .graph_census import watch as watch
from .prediction import predict as predict
from .saved_tensors import (
    peak_of_a_step as peak_of_a_step,
)
from .saved_tensors import (
    saved_for_backward as saved_for_backward,
)
