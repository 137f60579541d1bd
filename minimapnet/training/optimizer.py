"""The names by which the laboratory knows the optimizer and the learning rate's course."""

from minimapnet.model.optimizer import AdamW
from minimapnet.training.settings import learning_rate

__all__ = ["AdamW", "learning_rate"]
