from .card import Card as Card
from .registry import FIGURES as FIGURES
from .registry import figure as figure
