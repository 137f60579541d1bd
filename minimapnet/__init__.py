"""minimapnet: variance-reduced masked language modelling, from scratch, on NumPy or CuPy.

Source: Chen 2020, Variance-reduced Language Pretraining via a Mask Proposal Network, arXiv 2008.05333.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # they take half a second to load: each is loaded when it is first used, by `__getattr__`
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

_HOMES = {
    "backend": ("use",),
    "errors": ("InputError",),
    "gradient_norms.gradients": ("gradients", "gradients_and_norms", "token_losses"),
    "gradient_norms.norms": ("sequence_gradient_norms", "token_gradient_norms"),
    "mapnet.network": ("MapNet", "MapNetConfig"),
    "masks": ("ConditionalBernoulli", "UniformMasks"),
    "model.bert": ("Bert",),
    "model.config": ("BertConfig",),
    "proposals.optimal": ("optimal_mask_proposal", "optimal_position_proposal"),
    "variance.decomposition": ("decompose_variance",),
    "variance.report": ("VarianceReport",),
}


def __getattr__(name: str):
    """Load a public name, or a room of the package such as `backend`, when it is first used."""
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
            break
        if name == home.partition(".")[0]:
            value = importlib.import_module(f"{__name__}.{name}")
            break
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
