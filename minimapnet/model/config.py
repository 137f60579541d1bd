"""The numbers that fix a BERT's shape."""

import math
from dataclasses import dataclass, field

from minimapnet.errors import InputError

ACTIVATIONS = {  # Hugging Face's name -> the kernel's form
    "gelu": "erf",
    "gelu_python": "erf",
    "gelu_new": "tanh",
    "gelu_fast": "tanh",
    "gelu_pytorch_tanh": "tanh",
    "relu": "relu",
}


@dataclass(frozen=True)
class BertConfig:
    """Fields as in the config.json of Hugging Face's BERT, with defaults that train on a laptop.

    Beside them: `mask_token_id` and `pad_token_id` (None until they are known), `dtype` ("float32", or "float64" for
    checks) and `mlm_head` (False for an encoder that came without one). `initializer_range` None means
    1/sqrt(hidden_size), at which a layer's outputs begin as large as its inputs; what else a new model begins with is in
    `initialisation.py`.

    Raises InputError for a value that no BERT can have.
    """

    vocab_size: int = 2048
    hidden_size: int = 128
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 512
    max_position_embeddings: int = 128
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float | None = None
    tie_word_embeddings: bool = True
    mask_token_id: int | None = None
    pad_token_id: int | None = None
    dtype: str = field(default="float32", kw_only=True)
    mlm_head: bool = field(default=True, kw_only=True)

    def __post_init__(self):
        for name, most in SIZES.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a positive whole number, not {value!r}")
            if value > most:
                raise InputError(f"{name} must be at most {most:,}, not {value:,}: no model is so large")
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size {self.hidden_size} cannot be shared by num_attention_heads {self.num_attention_heads}"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise InputError(f"hidden_act {self.hidden_act!r} is not one of {', '.join(ACTIVATIONS)}")
        if self.dtype not in ("float32", "float64"):
            raise InputError(f"dtype must be float32 or float64, not {self.dtype!r}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 0 and below 1, not {getattr(self, name)!r}")
        for name in ("mask_token_id", "pad_token_id"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < self.vocab_size:
                raise InputError(f"{name} {value} is not in the vocabulary of {self.vocab_size}")
        for name in ("layer_norm_eps", "initializer_range"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be positive, not {value!r}")
        if self.initializer_range is None:
            object.__setattr__(self, "initializer_range", 1 / math.sqrt(self.hidden_size))

    @property
    def activation(self) -> str:
        """The kernel's form of the activation: "erf" or "tanh" of GELU, or "relu"."""
        return ACTIVATIONS[self.hidden_act]


SIZES = {  # and the largest that is believed
    "vocab_size": 2**24,
    "hidden_size": 2**16,
    "num_hidden_layers": 1000,
    "num_attention_heads": 2**16,
    "intermediate_size": 2**20,
    "max_position_embeddings": 2**24,
    "type_vocab_size": 2**16,
}
