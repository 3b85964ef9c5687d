from .card import Card as Card
from .card import Preview as Preview
