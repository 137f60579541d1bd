"""minimapnet: variance-reduced masked language modelling, from scratch, on NumPy or CuPy.

Source: Chen 2020, Variance-reduced Language Pretraining via a Mask Proposal Network, arXiv 2008.05333.
"""

from minimapnet.backend import use
from minimapnet.errors import InputError
from minimapnet.masking.distributions import ConditionalBernoulli, UniformMasks
from minimapnet.masking.mapnet import MapNet, MapNetConfig
from minimapnet.masking.optimal import optimal_mask_proposal, optimal_position_proposal
from minimapnet.masking.variance import decompose_variance
from minimapnet.masking.variance_report import VarianceReport
from minimapnet.model.bert import Bert
from minimapnet.model.config import BertConfig
from minimapnet.model.gradients import gradients, gradients_and_norms, token_losses
from minimapnet.model.norms import sequence_gradient_norms, token_gradient_norms

__all__ = [
    "Bert",
    "BertConfig",
    "ConditionalBernoulli",
    "InputError",
    "MapNet",
    "MapNetConfig",
    "UniformMasks",
    "VarianceReport",
    "decompose_variance",
    "gradients",
    "gradients_and_norms",
    "optimal_mask_proposal",
    "optimal_position_proposal",
    "sequence_gradient_norms",
    "token_gradient_norms",
    "token_losses",
    "use",
]
