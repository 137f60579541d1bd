"""What our gradient norms are measured against: PyTorch's ways to per-token norms, and Opacus' to per-sequence norms."""

import math
import statistics
import time

import numpy
import torch
import torch.nn.functional as F
from torch import nn

CHUNKS = (2, 4, 8, 16, 32, 80)  # of tokens that PyTorch takes at once: the fastest is used
TURNS = 7  # of the chunks in the search for it


class TokenPeer:
    """A BERT written as a function of its parameters, attention written out, so that torch.func can batch all of it."""

    rows_early = False  # compute the last layer, above its attention, at the masked places alone, as ours does

    def __init__(self, size, folder: str, threads: int, device: str = "cpu"):
        torch.set_num_threads(threads)
        torch.set_default_device(device)
        self.size, self.layers, self.heads, self.device = size, size.layers, size.heads, device
        self.p = {name: torch.from_numpy(value).to(device) for name, value in numpy.load(f"{folder}/params.npz").items()}
        ids, positions = (torch.from_numpy(array).to(device) for array in size.batch())
        self.inputs = torch.from_numpy(size.masked(*size.batch())).to(device)
        self.positions, self.targets = positions, ids.gather(1, positions)
        self.before = torch.cuda.memory_allocated() if device == "cuda" else None
        self.prepare()

    def prepare(self):
        """What a subclass does once, before it is timed."""

    def step(self) -> float:
        return float(self.norms().sum())

    def gradient_norm(self) -> float:
        return 0.0

    def gpu_peak_mib(self):
        return None if self.before is None else (torch.cuda.max_memory_allocated() - self.before) / (1 << 20)

    def token_losses(self, p, inputs, positions, targets):
        """The losses (K,) of one sentence: inputs (T,), positions (K,), targets (K,)."""
        C = self.size.width

        def norm(name, x):
            return F.layer_norm(x, (C,), p[f"{name}.weight"], p[f"{name}.bias"], 1e-12)

        def linear(name, x):
            return x @ p[f"{name}.weight"] + p[f"{name}.bias"]

        x = norm("embedding_norm", p["word_embedding"][inputs] + p["position_embedding"] + p["type_embedding"][0])  # (T, C)
        for i in range(self.layers):
            q, k, v = linear(f"layer{i}.qkv", x).view(-1, 3, self.heads, C // self.heads).permute(1, 2, 0, 3)  # (H, T, D)
            mixed = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(C // self.heads), -1) @ v  # (H, T, D)
            x = norm(f"layer{i}.attention_norm", x + linear(f"layer{i}.attention_out", mixed.transpose(0, 1).reshape(-1, C)))
            if self.rows_early and i == self.layers - 1:
                x = x.index_select(0, positions)  # (K, C)
            x = norm(f"layer{i}.feed_norm", x + linear(f"layer{i}.feed_out", F.gelu(linear(f"layer{i}.feed_in", x))))
        if not self.rows_early:
            x = x.index_select(0, positions)  # (K, C)
        h = norm("head.norm", F.gelu(linear("head.transform", x)))
        return F.cross_entropy(h @ p["word_embedding"].T + p["head.decoder.bias"], targets, reduction="none")


def norm_of(gradients) -> torch.Tensor:
    """The norm over all parameters of {name: gradient} or of a sequence of gradients."""
    values = gradients.values() if isinstance(gradients, dict) else gradients
    return sum((value * value).sum() for value in values).sqrt()


class FastestChunk(TokenPeer):
    """Times the chunks in turns, so that the machine's moods fall on all of them alike, and keeps that of the least median.

    A chunk whose best time is clearly slower than another's leaves from the second turn on.
    """

    def prepare(self):
        taken = {chunk: [] for chunk in CHUNKS}
        for turn in range(TURNS):
            for self.chunk, times in taken.items():
                times.append(self.seconds())
            if turn:
                fastest = min(map(min, taken.values()))
                taken = {chunk: times for chunk, times in taken.items() if min(times) < 1.25 * fastest}
        self.chunk = min(taken, key=lambda chunk: statistics.median(taken[chunk]))

    def seconds(self) -> float:
        """Time the norms as a turn of the benchmark does: once to wake the threads and fill the caches, once timed."""
        self.step()
        start = time.perf_counter()
        self.step()  # its float waits for the device
        return time.perf_counter() - start


class VmapOfGrad(FastestChunk):
    """(a) torch.func: vmap of grad over all masked tokens, each with its own forward."""

    def norms(self):
        def one(inputs, positions, targets):
            loss = lambda p: self.token_losses(p, inputs, positions, targets)[0]  # noqa: E731
            return norm_of(torch.func.grad(loss)(self.p))

        B, K = self.positions.shape
        tokens = self.inputs[:, None].expand(B, K, -1).reshape(B * K, -1)  # (B*K, T)
        return torch.vmap(one, chunk_size=self.chunk)(tokens, self.positions.reshape(-1, 1), self.targets.reshape(-1, 1))


class VmapOfGradRows(VmapOfGrad):
    """(a+) as (a), with our trick in the last layer."""

    rows_early = True


class VmapOfPullback(FastestChunk):
    """(b) as (a+), with one forward a sentence: vmap of its pullback over the masked tokens."""

    rows_early = True

    def norms(self):
        found = []
        for inputs, positions, targets in zip(self.inputs, self.positions, self.targets, strict=True):
            run = lambda p, batch=(inputs, positions, targets): self.token_losses(p, *batch)  # noqa: E731
            losses, pullback = torch.func.vjp(run, self.p)
            one = lambda upstream, pullback=pullback: norm_of(pullback(upstream)[0])  # noqa: E731
            found.append(torch.vmap(one, chunk_size=self.chunk)(torch.eye(len(losses))))
        return torch.cat(found)


class AutogradLoop(TokenPeer):
    """(c) a loop of autograd calls, one for each masked token; one forward for the batch."""

    def prepare(self):
        self.p = {name: value.requires_grad_() for name, value in self.p.items()}

    def norms(self):
        found, parameters = [], list(self.p.values())
        for batch in zip(self.inputs, self.positions, self.targets, strict=True):
            for loss in (losses := self.token_losses(self.p, *batch)):
                gradients = torch.autograd.grad(loss, parameters, retain_graph=loss is not losses[-1], allow_unused=True)
                found.append(norm_of(value for value in gradients if value is not None).detach())
        return torch.stack(found)


class UntiedModule(nn.Module):
    """The same BERT, untied, of the modules that Opacus knows: Linear, Embedding, LayerNorm."""

    def __init__(self, size):
        super().__init__()
        C, self.heads = size.width, size.heads
        self.words, self.places = nn.Embedding(size.vocabulary, C), nn.Embedding(size.tokens, C)
        self.embedding_norm = nn.LayerNorm(C, 1e-12)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "qkv": nn.Linear(C, 3 * C),
                    "attention_out": nn.Linear(C, C),
                    "attention_norm": nn.LayerNorm(C, 1e-12),
                    "feed_in": nn.Linear(C, 4 * C),
                    "feed_out": nn.Linear(4 * C, C),
                    "feed_norm": nn.LayerNorm(C, 1e-12),
                }
            )
            for _ in range(size.layers)
        )
        self.transform, self.norm, self.decoder = nn.Linear(C, C), nn.LayerNorm(C, 1e-12), nn.Linear(C, size.vocabulary)

    def forward(self, inputs, positions):
        B, T = inputs.shape
        x = self.embedding_norm(self.words(inputs) + self.places(torch.arange(T).repeat(B, 1)))  # (B, T, C)
        for layer in self.layers:
            q, k, v = layer["qkv"](x).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, T, -1)
            x = layer["attention_norm"](x + layer["attention_out"](mixed))
            x = layer["feed_norm"](x + layer["feed_out"](F.gelu(layer["feed_in"](x))))
        x = torch.take_along_dim(x, positions[:, :, None], dim=1)  # (B, K, C)
        return self.decoder(self.norm(F.gelu(self.transform(x))))  # (B, K, V)


class UntiedStep:
    """A plain step of the untied module, or one with Opacus' per-sequence norms in ghost mode."""

    def __init__(self, size, threads: int, ghost: bool):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.module, self.ghost = UntiedModule(size), ghost
        if ghost:
            from opacus.grad_sample import GradSampleModuleFastGradientClipping

            self.module = GradSampleModuleFastGradientClipping(
                self.module, batch_first=True, loss_reduction="mean", use_ghost_clipping=True, max_grad_norm=1.0
            )
        ids, positions = size.batch()
        self.inputs, self.positions = torch.from_numpy(size.masked(ids, positions)), torch.from_numpy(positions)
        self.targets = torch.from_numpy(ids).gather(1, self.positions)

    def step(self) -> float:
        self.module.zero_grad(set_to_none=True)
        logits = self.module(self.inputs, self.positions)  # (B, K, V)
        loss = F.cross_entropy(logits.flatten(0, 1), self.targets.flatten())
        loss.backward()
        return float(self.module.get_norm_sample().sum()) if self.ghost else loss.item()

    def gradient_norm(self) -> float:
        return 0.0

    def gpu_peak_mib(self):
        return None
