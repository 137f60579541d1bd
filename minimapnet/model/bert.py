"""BERT as published: its forward pass, and the backward pass as the forward's mirror.

Source: Devlin et al. 2018, arXiv 1810.04805: post-LayerNorm, learned positions, token types, and a masked-language-model
head with a transform, a decoder tied to the word embedding and an output bias. `parameters.py` has the table of parameters.

Axis letters: B sentences, T tokens, C channels, F feed-forward, V vocabulary, N masked tokens of the batch taken together.
"""

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.model import attention, layers, parameters, pretrained
from minimapnet.model.batch import MaskedBatch, Sentences, map_parts, masked_batch, sentence_batch
from minimapnet.model.config import BertConfig
from minimapnet.model.initialisation import initialise


class Bert:
    """A BERT: its `config`, and its `params` {name: array}, views of the one buffer `flat`.

    It is on the device that was in use when it was made; `to_device` moves it to the one in use now.
    """

    def __init__(self, config: BertConfig, seed: int = 0, init: str = "mimetic"):
        """Make a model whose parameters are drawn from `seed`, the same on every backend.

        `init` is "mimetic", from which small models learn soon, or "random", as published: see `initialisation.py`.

        Raises InputError for another name.
        """
        self.config = config
        self.flat = parameters.empty_flat(self.shapes, config.dtype)
        self.params = parameters.flat_views(self.flat, self.shapes)
        initialise(self.params, config, seed, init)

    @classmethod
    def from_pretrained(cls, folder, mask_token_id=None, pad_token_id=None, dtype="float32") -> "Bert":
        """Read a folder of Hugging Face's: config.json with model.safetensors, whole or in shards.

        The ids are needed only where neither config.json nor the tokenizer's files in the folder give them. `dtype` is what
        the model computes in, whatever the weights are stored as. Weights of an encoder alone give a model without a head.

        Raises InputError, in one line that names the file and the field or the tensor, for whatever does not fit.
        """
        model = cls.__new__(cls)  # nothing is drawn at random
        model.config, model.flat = pretrained.load(folder, mask_token_id, pad_token_id, dtype)
        return model.to_device()

    def save_pretrained(self, folder) -> None:
        """Write config.json and model.safetensors under Hugging Face's names, so that `from_pretrained` gives the same bits.

        Raises InputError where they cannot be written; what was there before then still is.
        """
        pretrained.save(folder, self.config, self.params)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter by name."""
        return parameters.parameter_shapes(self.config)

    @property
    def decoder_name(self) -> str:
        """The name of the parameter that is the decoder's weight."""
        return "word_embedding" if self.config.tie_word_embeddings else "head.decoder.weight"

    def to_device(self) -> "Bert":
        """Move the parameters to the device in use now; return the model itself."""
        self.flat = backend.to_device(self.flat if isinstance(self.flat, backend.xp.ndarray) else backend.to_host(self.flat))
        self.params = parameters.flat_views(self.flat, self.shapes)
        return self

    def encode(self, ids, attention_mask=None, token_type_ids=None):
        """Return the last layer's output for ids (B, T) -> (B, T, C), on the device in use.

        Raises InputError for ids out of range and sentences longer than the model.
        """
        sentences = sentence_batch(self.config, ids, attention_mask, token_type_ids)
        out = backend.xp.empty((*sentences.shape, self.config.hidden_size), self.config.dtype)  # (B, T, C)

        def work(part: Sentences, _):
            out[part.rows] = self.encoder_forward(part)[0]

        map_parts(sentences, work)
        return out

    def logits(self, ids, attention_mask=None, token_type_ids=None):
        """Return the logits of every token's place, for ids (B, T) as they are -> (B, T, V), on the device in use.

        Raises InputError as `encode` does, and for a model that came without a masked-language-model head.
        """
        self._need_head()
        hidden = self.encode(ids, attention_mask, token_type_ids)  # (B, T, C)
        B, T, C = hidden.shape
        logits, _ = self.head_forward(hidden.reshape(B * T, C))  # (B*T, V)
        return logits.reshape(B, T, -1)

    def masked_logits(self, ids, positions, attention_mask=None):
        """Return the logits at the masked positions alone, (N, V) for the N of positions (B, K), row by row.

        ids (B, T) are the tokens, with or without [MASK] at the positions, which are padded with -1.

        Raises InputError as `forward` would for such a batch.
        """
        self._need_head()
        batch = masked_batch(self.config, ids, positions, attention_mask)
        logits = backend.xp.empty((len(batch.mask_slots), self.config.vocab_size), self.config.dtype)  # (N, V)

        def work(part: MaskedBatch, _):
            hidden = self.encoder_forward(part.sentences, part.token_index)[0]  # (N of the part, C)
            logits[batch.masked_tokens(part.sentences.rows)] = self.head_forward(hidden)[0]

        map_parts(batch, work)
        return logits

    def forward(self, batch: MaskedBatch, dropout=None):
        """Return the loss of every masked token (N,) and the cache of the backward."""
        self._need_head()

        # 1. through the layers, the last of them at the masked places alone
        hidden, encoder_cache = self.encoder_forward(batch.sentences, batch.token_index, dropout)  # (N, C)

        # 2. scores over the vocabulary
        logits, head_cache = self.head_forward(hidden)  # (N, V)

        # 3. the price of each guess
        losses, loss_cache = layers.cross_entropy_forward(logits, batch.targets)  # (N,)
        return losses, (encoder_cache, head_cache, loss_cache)

    def backward(self, dlosses, cache, accumulator) -> None:
        """The mirror of `forward`: dlosses (N,); what becomes of the parameters' gradients is up to `accumulator`."""
        encoder_cache, head_cache, loss_cache = cache

        # 3. losses = cross_entropy(logits, targets)
        dlogits = layers.cross_entropy_backward(dlosses, loss_cache)  # (N, V)

        # 2. logits = head(hidden)
        dhidden = self.head_backward(dlogits, head_cache, accumulator)  # (N, C)

        # 1. hidden = encoder(sentences)
        self.encoder_backward(dhidden, encoder_cache, accumulator)

    def head_forward(self, hidden):
        """hidden (N, C) -> logits (N, V): transform, GELU, LayerNorm, decoder."""
        p = self.params
        x, transform_cache = self._linear("head.transform", hidden)  # (N, C)
        x, gelu_cache = layers.gelu_forward(x, self.config.activation)  # (N, C)
        x, norm_cache = self._norm("head.norm", x)  # (N, C)
        logits, decoder_cache = layers.decoder_forward(x, p[self.decoder_name], p["head.decoder.bias"])  # (N, V)
        return logits, (transform_cache, gelu_cache, norm_cache, decoder_cache)

    def head_backward(self, dlogits, cache, accumulator):
        """The mirror of `head_forward`: dlogits (N, V) -> dhidden (N, C)."""
        transform_cache, gelu_cache, norm_cache, decoder_cache = cache
        dx = layers.decoder_backward(dlogits, decoder_cache, accumulator)  # (N, C)
        dx = layers.layernorm_backward(dx, norm_cache, "head.norm", accumulator)  # (N, C)
        dx = layers.gelu_backward(dx, gelu_cache)  # (N, C)
        return layers.linear_backward(dx, transform_cache, "head.transform", accumulator)  # (N, C)

    def encoder_forward(self, sentences: Sentences, token_index=None, dropout=None):
        """Sentences -> the last layer's output (B, T, C), or (N, C) of the tokens `token_index` (N,) in range(B*T)."""
        if not isinstance(self.flat, backend.xp.ndarray):
            raise InputError("the model was made on another backend than the one in use: call its to_device() first")
        last = self.config.num_hidden_layers - 1
        x, embedding_cache = self.embedding_forward(sentences, dropout)  # (B, T, C)
        caches = []
        for i in range(last + 1):
            x, cache = self.layer_forward(i, x, sentences, token_index if i == last else None, dropout)
            caches.append(cache)
        return x, (embedding_cache, caches)

    def encoder_backward(self, dx, cache, accumulator) -> None:
        """The mirror of `encoder_forward`."""
        embedding_cache, caches = cache
        for i in reversed(range(len(caches))):
            dx = self.layer_backward(i, dx, caches[i], accumulator)  # (B, T, C)
        self.embedding_backward(dx, embedding_cache, accumulator)

    def embedding_forward(self, sentences, dropout=None):
        """Words, positions and token types, added up: inputs (B, T) -> x (B, T, C)."""
        p, (B, T) = self.params, sentences.shape
        positions = backend.xp.broadcast_to(backend.xp.arange(T), (B, T))
        x, words_cache = layers.embedding_forward(sentences.inputs, p["word_embedding"])  # (B, T, C)
        position, positions_cache = layers.embedding_forward(positions, p["position_embedding"])  # (B, T, C)
        kind, types_cache = layers.embedding_forward(sentences.types, p["type_embedding"])  # (B, T, C)
        x += position
        x += kind
        x, norm_cache = self._norm("embedding_norm", x)  # (B, T, C)
        x, mask = layers.dropout_forward(x, self._hidden_mask(dropout, "embedding", sentences))  # (B, T, C)
        return x, (words_cache, positions_cache, types_cache, norm_cache, mask)

    def embedding_backward(self, dx, cache, accumulator) -> None:
        """The mirror of `embedding_forward`."""
        words_cache, positions_cache, types_cache, norm_cache, mask = cache
        dx = layers.dropout_backward(dx, mask)  # (B, T, C)
        dx = layers.layernorm_backward(dx, norm_cache, "embedding_norm", accumulator)  # (B, T, C)
        layers.embedding_backward(dx, types_cache, "type_embedding", accumulator)
        layers.embedding_backward(dx, positions_cache, "position_embedding", accumulator)
        layers.embedding_backward(dx, words_cache, "word_embedding", accumulator)

    def layer_forward(self, i, x, sentences: Sentences, token_index=None, dropout=None):
        """Layer i: x (B, T, C) -> (B, T, C), or (N, C) where only the tokens `token_index` (N,) are wanted.

        The loss looks at the masked tokens alone, and attention is the last thing that mixes tokens: above the last layer's
        attention no other token need be computed.
        """
        B, T, C = x.shape
        masks = [self._hidden_mask(dropout, f"layer{i}/{name}", sentences) for name in ("attention", "feed")]

        # 1. gather from the other tokens
        context, attention_cache = self.attention_forward(i, x, sentences, dropout)  # (B, T, C)

        # 2. from here on only the tokens that are wanted
        if token_index is not None:
            x, context = x.reshape(B * T, C)[token_index], context.reshape(B * T, C)[token_index]  # (N, C)
            masks = [mask if mask is None else mask.reshape(B * T, C)[token_index] for mask in masks]  # (N, C)

        # 3. what was gathered, back to the residual stream
        x, output_cache = self.attention_output_forward(i, x, context, masks[0])

        # 4. each token by itself
        x, ffn_cache = self.ffn_forward(i, x, masks[1])
        return x, (attention_cache, output_cache, ffn_cache, token_index, (B, T, C))

    def layer_backward(self, i, dx, cache, accumulator):
        """The mirror of `layer_forward`: dx (B, T, C), or (N, C) -> (B, T, C)."""
        attention_cache, output_cache, ffn_cache, token_index, shape = cache

        # 4. x = ffn(x)
        dx = self.ffn_backward(i, dx, ffn_cache, accumulator)

        # 3. x = attention_output(x, context)
        dx, dcontext = self.attention_output_backward(i, dx, output_cache, accumulator)

        # 2. x, context = x[token_index], context[token_index]
        if token_index is not None:
            dx, dcontext = scatter(dx, token_index, shape), scatter(dcontext, token_index, shape)  # (B, T, C)

        # 1. context = attention(x)
        return self.attention_backward(i, dx, dcontext, attention_cache, accumulator)  # (B, T, C)

    def attention_forward(self, i, x, sentences: Sentences, dropout=None):
        """Where the tokens meet: x (B, T, C) -> context (B, T, C)."""
        qkv, qkv_cache = self._linear(f"layer{i}.qkv", x)  # (B, T, 3C)
        mask, heads = self._attention_mask(dropout, i, sentences), self.config.num_attention_heads  # (B, H, T, T)
        context, attention_cache = attention.attention_forward(qkv, heads, sentences.bias, mask)  # (B, T, C)
        return context, (qkv_cache, attention_cache)

    def attention_backward(self, i, dresidual, dcontext, cache, accumulator):
        """The mirror of `attention_forward`: dcontext (B, T, C), and dresidual (B, T, C) of x besides -> dx (B, T, C)."""
        qkv_cache, attention_cache = cache
        dqkv = attention.attention_backward(dcontext, attention_cache)  # (B, T, 3C)
        dx = layers.linear_backward(dqkv, qkv_cache, f"layer{i}.qkv", accumulator)  # (B, T, C)
        dx += dresidual
        return dx

    def attention_output_forward(self, i, x, context, mask=None):
        """Projection, residual and LayerNorm: x and context (..., C) -> (..., C); `mask` is dropout's, or None."""
        y, out_cache = self._linear(f"layer{i}.attention_out", context)
        y, mask = layers.dropout_forward(y, mask)
        y += x
        x, norm_cache = self._norm(f"layer{i}.attention_norm", y)
        return x, (out_cache, mask, norm_cache)

    def attention_output_backward(self, i, dx, cache, accumulator):
        """The mirror of `attention_output_forward`: dx (..., C) -> (dx, dcontext), both (..., C)."""
        out_cache, mask, norm_cache = cache
        dx = layers.layernorm_backward(dx, norm_cache, f"layer{i}.attention_norm", accumulator)
        dy = layers.dropout_backward(dx, mask)
        return dx, layers.linear_backward(dy, out_cache, f"layer{i}.attention_out", accumulator)

    def ffn_forward(self, i, x, mask=None):
        """Feed-forward, residual and LayerNorm: x (..., C) -> (..., C); `mask` is dropout's, or None."""
        y, in_cache = self._linear(f"layer{i}.feed_in", x)  # (..., F)
        y, gelu_cache = layers.gelu_forward(y, self.config.activation)  # (..., F)
        y, out_cache = self._linear(f"layer{i}.feed_out", y)  # (..., C)
        y, mask = layers.dropout_forward(y, mask)
        y += x
        x, norm_cache = self._norm(f"layer{i}.feed_norm", y)
        return x, (in_cache, gelu_cache, out_cache, mask, norm_cache)

    def ffn_backward(self, i, dx, cache, accumulator):
        """The mirror of `ffn_forward`: dx (..., C) -> (..., C)."""
        in_cache, gelu_cache, out_cache, mask, norm_cache = cache
        dx = layers.layernorm_backward(dx, norm_cache, f"layer{i}.feed_norm", accumulator)
        dy = layers.dropout_backward(dx, mask)
        dy = layers.linear_backward(dy, out_cache, f"layer{i}.feed_out", accumulator)  # (..., F)
        dy = layers.gelu_backward(dy, gelu_cache)
        dy = layers.linear_backward(dy, in_cache, f"layer{i}.feed_in", accumulator)  # (..., C)
        dy += dx
        return dy

    def _linear(self, name, x):
        return layers.linear_forward(x, self.params[f"{name}.weight"], self.params[f"{name}.bias"])

    def _norm(self, name, x):
        weight, bias = self.params[f"{name}.weight"], self.params[f"{name}.bias"]
        return layers.layernorm_forward(x, weight, bias, self.config.layer_norm_eps)

    def _hidden_mask(self, dropout, layer, sentences):
        shape = (sentences.shape[1], self.config.hidden_size)  # (T, C)
        return dropout and dropout.mask(layer, dropout.hidden, sentences.rows, shape)

    def _attention_mask(self, dropout, i, sentences):
        T = sentences.shape[1]
        shape = (self.config.num_attention_heads, T, T)  # (H, T, T)
        return dropout and dropout.mask(f"layer{i}/probs", dropout.attention, sentences.rows, shape)

    def _need_head(self):
        if not self.config.mlm_head:
            raise InputError("this model has no masked-language-model head: its weights came from an encoder alone")


def scatter(d, token_index, shape):
    """Return zeros of `shape` (B, T, C) with d (N, C) at the tokens token_index (N,), all different, in range(B*T)."""
    out = backend.xp.zeros(shape, d.dtype)
    out.reshape(-1, shape[-1])[token_index] = d
    return out
