"""MAPNet: a small bidirectional network that reads a whole sentence, unmasked, and predicts the gradient norm of each token.

f_i = log |g_i|, up to a constant that all sentences share, g_i being the gradient of the loss when token i alone is masked.
One forward pass serves all positions and, by f, all masks of a sentence. What it learns from is in `objectives.py`,
how it draws and learns along with a model in `learner.py`.
Source: Chen 2020, arXiv 2008.05333, there with actor and critic; the predicted norms play the part of both here.

Axis letters: B sentences, T tokens, C channels of MAPNet.
"""

from dataclasses import dataclass, field

from minimapnet import backend
from minimapnet.backend import Array
from minimapnet.gradient_norms.accumulators import GradientAccumulator, gather
from minimapnet.model import layers, parameters
from minimapnet.model.batch import Sentences, map_parts, sentence_batch
from minimapnet.model.bert import Bert
from minimapnet.model.config import BertConfig
from minimapnet.model.initialisation import initialise

NARROWER = 4  # times narrower than the model
NARROWEST = 32  # channels: a small model's quarter is too few to tell tokens apart
HEAD = 32  # channels of a head


@dataclass(frozen=True)
class MapNetConfig(BertConfig):
    """The numbers that fix a MAPNet's shape: fields as of BertConfig, whose encoder it uses."""

    mlm_head: bool = field(default=False, init=False)

    @classmethod
    def for_model(cls, config: BertConfig) -> "MapNetConfig":
        """Return the default for a model: one block at a quarter of its width, over the same tokens."""
        width = max(NARROWEST, config.hidden_size // NARROWER // HEAD * HEAD)
        return cls(
            vocab_size=config.vocab_size,
            hidden_size=width,
            num_hidden_layers=1,
            num_attention_heads=width // HEAD,
            intermediate_size=4 * width,
            max_position_embeddings=config.max_position_embeddings,
            type_vocab_size=1,
            hidden_act=config.hidden_act,
            layer_norm_eps=config.layer_norm_eps,
            dtype=config.dtype,
        )


class MapNet:
    """A MAPNet: its `config`, and its `params` {name: array}, views of the one buffer `flat`, as a Bert has them.

    The parameters are those of an encoder and `readout` .weight (C, 1) and .bias (1,). The readout starts at 0, so f is 0
    everywhere, and what is drawn by it uniform.
    """

    def __init__(self, config: MapNetConfig, seed: int = 0):
        """Make a MAPNet whose parameters are drawn from `seed`, the same on every backend."""
        self.config = config
        self._use(parameters.empty_flat(self.shapes, config.dtype))
        initialise(self.params, config, seed, "random")
        self.params["readout.weight"][...] = 0.0

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter by name."""
        readout = {"readout.weight": (self.config.hidden_size, 1), "readout.bias": (1,)}
        return parameters.parameter_shapes(self.config) | readout

    def to_device(self) -> "MapNet":
        """Move the parameters to the device in use now; return the MAPNet itself."""
        self._use(backend.to_device(self.flat if isinstance(self.flat, backend.xp.ndarray) else backend.to_host(self.flat)))
        return self

    def log_norms(self, ids, attention_mask=None):
        """Return f for ids (B, T), the *unmasked* tokens -> (B, T) of MAPNet's dtype, on the device in use.

        attention_mask (B, T) is 1 at tokens and 0 at padding, where f has no meaning.

        Raises InputError for ids out of range and sentences longer than MAPNet's.
        """
        return self.forward(ids, attention_mask)[0]

    def forward(self, ids, attention_mask=None) -> tuple[Array, tuple]:
        """Return f (B, T) as `log_norms` does, and the backward's cache, which holds the activations of all B sentences."""
        sentences = sentence_batch(self.config, ids, attention_mask)
        f = backend.xp.empty(sentences.shape, self.config.dtype)  # (B, T)

        def work(part: Sentences, _):
            # 1. through the blocks
            hidden, encoder_cache = self._encoder.encoder_forward(part)  # (B, T, C)

            # 2. one number a token
            readout = self.params["readout.weight"], self.params["readout.bias"]
            out, readout_cache = layers.linear_forward(hidden, *readout)  # (B, T, 1)
            f[part.rows] = out[:, :, 0]
            return part.rows, (encoder_cache, readout_cache)

        results, _ = map_parts(sentences, work)
        return f, (sentences, {rows.start: cache for rows, cache in results})

    def backward(self, df: Array, cache, out: Array | None = None) -> dict[str, Array]:
        """The mirror of `forward`: df (B, T) -> {name: gradient} of the parameters' shapes, on the device in use.

        The gradients are views of `out`, a flat buffer of MAPNet's form, which is overwritten, or of a new one.
        """
        sentences, caches = cache

        def work(part: Sentences, accumulator: GradientAccumulator):
            encoder_cache, readout_cache = caches[part.rows.start]

            # 2. f = readout(hidden)
            dhidden = layers.linear_backward(df[part.rows, :, None], readout_cache, "readout", accumulator)  # (B, T, C)

            # 1. hidden = encoder(sentences)
            self._encoder.encoder_backward(dhidden, encoder_cache, accumulator)

        _, accumulators = map_parts(sentences, work, GradientAccumulator)
        flat = parameters.empty_flat(self.shapes, self.config.dtype) if out is None else out
        views = parameters.flat_views(flat, self.shapes)
        gather(accumulators, views, None)
        return views

    def _use(self, flat) -> None:
        """Let `flat` hold the parameters, MAPNet's own and, as views of the same, the encoder's."""
        self.flat, self.params = flat, parameters.flat_views(flat, self.shapes)
        self._encoder = Bert.__new__(Bert)  # without parameters of its own
        self._encoder.config, self._encoder.flat, self._encoder.params = self.config, self.flat, self.params
