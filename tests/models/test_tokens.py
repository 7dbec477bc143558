"""Claims about counting a prompt's tokens where a tokenizer is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from models.cards import card
from models.tokens import count_tokens

WAN = card("wan2.1-i2v-14b-480p")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A weights folder with a tokenizer of whole words that marks the end, as UMT5's does."""
    words = Tokenizer(WordLevel({"<unk>": 0, "</s>": 1, "fog": 2}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    words.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder = tmp_path / WAN.name / "tokenizer"
    folder.mkdir(parents=True)
    words.save(str(folder / "tokenizer.json"))
    return tmp_path


def test_tokens_are_counted_with_the_end(weights: Path) -> None:
    """Words, however they are spaced, and the mark that the encoder wants behind them."""
    assert count_tokens("fog  over \n the&nbsp;lake", card=WAN, weights=weights) == 5


def test_without_a_tokenizer_nobody_can_say(tmp_path: Path) -> None:
    """A model that is not installed, and a file that is broken, count nothing and raise nothing."""
    assert count_tokens("fog", card=WAN, weights=tmp_path) is None
    folder = tmp_path / WAN.name / "tokenizer"
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text("{")
    assert count_tokens("fog", card=WAN, weights=tmp_path) is None
