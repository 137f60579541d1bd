"""The small BERT that step 4 trains, for the steps after it: read from `runs/tutorials`, or trained where it is missing."""

from pathlib import Path

from minimapnet import Bert, BertConfig, InputError
from minimapnet.proposals import UniformProposal
from minimapnet.text.load import Corpus, load_corpus
from minimapnet.training.evaluation import Evaluation
from minimapnet.training.settings import TrainSettings
from minimapnet.training.trainer import Trainer

FOLDER = Path(__file__).parent.parent / "runs" / "tutorials"
MAX_LENGTH = 18  # [CLS], 16 words, [SEP]
MASKED = 2  # of the 16 words, in training
SETTINGS = TrainSettings(steps=2000, batch_size=32, eval_every=100, checkpoint_every=0)


def grammar_text() -> Corpus:
    """Return the grammar's sentences, one a row."""
    return load_corpus("grammar", FOLDER / "cache", max_length=MAX_LENGTH, layout="sentences")


def config(text: Corpus) -> BertConfig:
    """Return the model's config: two layers of 64 channels."""
    return BertConfig(
        vocab_size=text.vocab_size,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=MAX_LENGTH,
        mask_token_id=text.mask_token_id,
        pad_token_id=text.pad_token_id,
    )


def validation(text: Corpus) -> Evaluation:
    """Return the loss's measure: 512 sentences that were not trained on, each with one uniform mask of its own."""
    return Evaluation(text.validation, 1, seed=0, most=512)


def train(model: Bert, text: Corpus, settings: TrainSettings = SETTINGS) -> list[dict]:
    """Train a model with uniform masks -> the log's records."""
    return Trainer(model, text, UniformProposal(MASKED), settings, evaluation=validation(text)).run()


def bert() -> tuple[Bert, Corpus]:
    """Return the trained model and its text; training takes about 25 seconds, once."""
    text = grammar_text()
    try:
        return Bert.from_pretrained(FOLDER / "bert"), text
    except InputError:
        model = Bert(config(text), seed=0, init="random")  # as BERT was published: step 4 tells what else there is
        train(model, text)
        save(model)
        return model, text


def save(model: Bert) -> None:
    """Keep a trained model for the steps that follow."""
    model.save_pretrained(FOLDER / "bert")
