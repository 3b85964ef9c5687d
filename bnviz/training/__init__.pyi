from .checkpoints import model_at as model_at
from .jobs import Job as Job
from .jobs import Jobs as Jobs
from .trainer import Trainer as Trainer
