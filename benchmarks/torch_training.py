"""What our trainer is measured against: the same steps as one would write them in PyTorch. Nothing of ours is imported."""

import numpy
import torch
import torch_peers


class TorchTraining(torch_peers.TorchPeer):
    """Rows from a memory map, random masks, (a) or (a+) of `torch_peers`, clipping, and torch.optim.AdamW."""

    def __init__(self, size, loop, folder: str, threads: int, rows_early: bool, fused: bool):
        self.size, self.loop, self.rows_early, self.fused = size, loop, rows_early, fused
        super().__init__(size, folder, threads, "cpu")

    def make(self, size, folder):
        self.module = torch_peers.eager_module(size, folder, self.rows_early)
        self.text = numpy.load(f"{folder}/{self.loop.tokens}", mmap_mode="r")
        self.random = torch.Generator().manual_seed(0)
        parameters = list(self.module.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.loop.weight_decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        options = {"fused": True} if self.fused else {}
        self.optimizer = torch.optim.AdamW(groups, lr=self.loop.learning_rate, betas=(0.9, 0.98), eps=1e-6, **options)

    def batch(self):
        """Draw ids (B, T) and positions (B, K)."""
        if self.loop.fixed:
            return tuple(map(torch.from_numpy, self.size.batch()))
        B, T, K = self.size.sentences, self.size.tokens, self.size.masked_tokens
        starts = torch.randint(len(self.text) - T, (B,), generator=self.random)
        rows = [torch.from_numpy(self.text[start : start + T - 1].astype(numpy.int64)) for start in starts.tolist()]
        ids = torch.cat([torch.full((B, 1), self.loop.cls), torch.stack(rows)], dim=1)
        return ids, 1 + torch.rand(B, T - 1, generator=self.random).topk(K).indices

    def step(self) -> float:
        ids, positions = self.batch()
        inputs = ids.scatter(1, positions, self.loop.mask)
        rows = (torch.arange(len(ids))[:, None] * ids.shape[1] + positions).reshape(-1)  # (B*K,)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.module(inputs, rows, ids.reshape(-1)[rows])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.loop.max_grad_norm)
        self.optimizer.step()
        return loss.item()

    def gradient_norm(self) -> float:
        """Return the norm of all parameters instead: it tells whether the optimizers agree."""
        return float(sum(value.detach().double().square().sum() for value in self.module.parameters()) ** 0.5)


class HuggingFaceTraining:
    """BertForMaskedLM from its config's own start, its loss and AdamW as its documentation has them."""

    def __init__(self, config, learning_rate: float, settings):
        from transformers import BertConfig, BertForMaskedLM

        names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        names += ("max_position_embeddings", "pad_token_id")
        torch.manual_seed(settings.seed)
        torch.set_num_threads(1)
        sizes = {name: getattr(config, name) for name in names}
        self.module = BertForMaskedLM(BertConfig(**sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
        self.mask, self.rate, self.max_grad_norm = config.mask_token_id, learning_rate, settings.max_grad_norm
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=learning_rate, weight_decay=settings.weight_decay)

    def step(self, ids, positions, attention_mask, scale: float) -> None:
        """Make a step on ids (B, T) with the masked positions (B, K), -1 where there are fewer, at a share of the rate."""
        self.module.train()
        for group in self.optimizer.param_groups:
            group["lr"] = scale * self.rate
        self.optimizer.zero_grad(set_to_none=True)
        inputs, labels = self._masked(ids, positions)
        self.module(input_ids=inputs, attention_mask=torch.from_numpy(attention_mask).long(), labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.max_grad_norm)
        self.optimizer.step()

    @torch.no_grad()
    def loss(self, chunks) -> float:
        """Return the loss on chunks with ids, attention_mask, positions, and weights (B, K) that add up to 1 over all."""
        self.module.eval()
        total = 0.0
        for chunk in chunks:
            inputs, _ = self._masked(chunk.ids, chunk.positions)
            attention_mask = torch.from_numpy(chunk.attention_mask).long()
            logs = self.module(input_ids=inputs, attention_mask=attention_mask).logits.log_softmax(dim=-1)  # (B, T, V)
            rows = numpy.arange(len(chunk.ids))[:, None]
            total -= float((logs[rows, chunk.positions, chunk.ids[rows, chunk.positions]].numpy() * chunk.weights).sum())
        return total

    def _masked(self, ids, positions):
        """Return ids with [MASK], and labels of -100 where nothing is masked, both (B, T)."""
        rows, columns = numpy.nonzero(positions != -1)
        chosen = rows, positions[rows, columns]
        inputs, labels = ids.astype(numpy.int64), numpy.full(ids.shape, -100)
        labels[chosen], inputs[chosen] = ids[chosen], self.mask
        return torch.from_numpy(inputs), torch.from_numpy(labels)
