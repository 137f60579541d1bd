"""minimapnet: variance-reduced masked language modelling, from scratch, on NumPy or CuPy.

Source: Chen 2020, Variance-reduced Language Pretraining via a Mask Proposal Network, arXiv 2008.05333.
"""

from minimapnet.backend import use
from minimapnet.errors import InputError
from minimapnet.gradient_norms.gradients import gradients, gradients_and_norms, token_losses
from minimapnet.gradient_norms.norms import sequence_gradient_norms, token_gradient_norms
from minimapnet.mapnet.network import MapNet, MapNetConfig
from minimapnet.masks import ConditionalBernoulli, UniformMasks
from minimapnet.model.bert import Bert
from minimapnet.model.config import BertConfig
from minimapnet.proposals.optimal import optimal_mask_proposal, optimal_position_proposal
from minimapnet.variance.decomposition import decompose_variance
from minimapnet.variance.report import VarianceReport

__version__ = "0.2.0"

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
