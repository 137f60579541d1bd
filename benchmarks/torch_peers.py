"""What our step is measured against: the same model in PyTorch eager, and Hugging Face's as its users run it.

Nothing of ours is imported here: a peer runs with the settings that it would have by itself.
"""

import numpy
import torch
import torch.nn.functional as F
from torch import nn


class Layer(nn.Module):
    """A post-LayerNorm layer with PyTorch's fused attention."""

    def __init__(self, width, heads, eps):
        super().__init__()
        self.heads = heads
        self.qkv, self.attention_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed_in, self.feed_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.attention_norm, self.feed_norm = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)

    def forward(self, x, rows=None):
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, T, C)
        if rows is not None:
            x, mixed = x.reshape(B * T, C)[rows], mixed.reshape(B * T, C)[rows]  # (N, C)
        x = self.attention_norm(x + self.attention_out(mixed))
        return self.feed_norm(x + self.feed_out(F.gelu(self.feed_in(x))))


class Eager(nn.Module):
    """BERT with the logits of the masked places alone and a tied decoder; parameters are named as ours are."""

    def __init__(self, size, rows_early: bool):
        super().__init__()
        self.rows_early = rows_early
        C, eps = size.width, 1e-12
        self.word_embedding = nn.Parameter(torch.empty(size.vocabulary, C))
        self.position_embedding = nn.Parameter(torch.empty(size.tokens, C))
        self.type_embedding = nn.Parameter(torch.empty(2, C))
        self.embedding_norm = nn.LayerNorm(C, eps)
        for i in range(size.layers):
            self.add_module(f"layer{i}", Layer(C, size.heads, eps))
        self.layers = [getattr(self, f"layer{i}") for i in range(size.layers)]
        self.head = nn.ModuleDict({"transform": nn.Linear(C, C), "norm": nn.LayerNorm(C, eps), "decoder": nn.Module()})
        self.head["decoder"].bias = nn.Parameter(torch.empty(size.vocabulary))

    def forward(self, inputs, rows, targets):
        x = F.embedding(inputs, self.word_embedding) + self.position_embedding[: inputs.shape[1]] + self.type_embedding[0]
        x = self.embedding_norm(x)  # (B, T, C)
        for layer in self.layers[:-1]:
            x = layer(x)
        x = self.layers[-1](x, rows if self.rows_early else None)  # (N, C) or (B, T, C)
        x = x if self.rows_early else x.reshape(-1, x.shape[-1])[rows]  # (N, C)
        x = self.head["norm"](F.gelu(self.head["transform"](x)))
        return F.cross_entropy(F.linear(x, self.word_embedding, self.head["decoder"].bias), targets)


def eager_module(size, folder: str, rows_early: bool) -> Eager:
    """Return the eager peer with our weights, which stand in params.npz under our names."""
    module, params = Eager(size, rows_early), numpy.load(f"{folder}/params.npz")
    for name, value in module.named_parameters():
        ours = params[name]
        linear = name.endswith(".weight") and ours.ndim == 2  # linear weights lie (out, in) in PyTorch
        with torch.no_grad():
            value.copy_(torch.from_numpy(ours.T.copy() if linear else ours.copy()))
    return module


class TorchPeer:
    """What the contenders of PyTorch share; `compute_loss` is theirs."""

    def __init__(self, size, folder: str, threads: int, device: str, tf32: bool = False):
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = tf32
        self.device = torch.device(device)
        self.make(size, folder)
        if device == "cuda":
            torch.cuda.synchronize()
            self.before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()

    def tensor(self, array):
        return torch.from_numpy(array).to(self.device)

    def step(self) -> float:
        self.module.zero_grad(set_to_none=True)
        loss = self.compute_loss()
        loss.backward()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return loss.item()

    def gradient_norm(self) -> float:
        return float(sum(value.grad.double().square().sum() for value in self.module.parameters()) ** 0.5)

    def gpu_peak_mib(self):
        if self.device.type == "cuda":
            return (torch.cuda.max_memory_allocated() - self.before) / (1 << 20)
        return None


class EagerStep(TorchPeer):
    """(a): the same mathematics, written as one would in PyTorch."""

    rows_early = False

    def make(self, size, folder):
        ids, positions = size.batch()
        rows = numpy.arange(len(ids))[:, None] * ids.shape[1] + positions  # (B, K)
        self.inputs = self.tensor(size.masked(ids, positions))
        self.rows, self.targets = self.tensor(rows.reshape(-1)), self.tensor(ids.reshape(-1)[rows.reshape(-1)])
        self.module = eager_module(size, folder, self.rows_early).to(self.device)

    def compute_loss(self):
        return self.module(self.inputs, self.rows, self.targets)


class EagerRowsStep(EagerStep):
    """(a+): as (a), with the last layer, above its attention, at the masked places alone, as ours does it."""

    rows_early = True


class CompiledStep(EagerRowsStep):
    """(c): (a+) through torch.compile."""

    def make(self, size, folder):
        super().make(size, folder)
        self.compiled = torch.compile(self.module)

    def compute_loss(self):
        return self.compiled(self.inputs, self.rows, self.targets)


class HuggingFaceStep(TorchPeer):
    """(b): BertForMaskedLM as its documentation shows it: labels of -100 where nothing is masked, all logits."""

    def make(self, size, folder):
        from transformers import BertForMaskedLM

        ids, positions = size.batch()
        labels = numpy.full_like(ids, -100)
        numpy.put_along_axis(labels, positions, numpy.take_along_axis(ids, positions, axis=1), axis=1)
        self.inputs, self.labels = self.tensor(size.masked(ids, positions)), self.tensor(labels)
        self.module = BertForMaskedLM.from_pretrained(folder).to(self.device).train()

    def compute_loss(self):
        return self.module(input_ids=self.inputs, labels=self.labels).loss


class TorchProduct:
    """The machine's matrix-product peak, as PyTorch reaches it."""

    def __init__(self, width: int, threads: int):
        torch.set_num_threads(threads)
        self.a = torch.randn(width, width)

    def step(self) -> float:
        return float((self.a @ self.a)[0, 0])
