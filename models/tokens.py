"""How many tokens a model's text encoder makes of a prompt, where its tokenizer is installed. Without torch.

Knows: tokenizer.json as the tokenizers library reads it. Does not know: encoders, prompts' meaning. Memory: one
tokenizer for each model that is asked about a long prompt (UMT5: 17 MB on disk, about 150 MB).
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.cards import Card
from models.weights import model_folder


def count_tokens(text: str, *, card: Card, weights: Path) -> int | None:
    """Tokens of a prompt, the end mark included, cleaned as models.prompts.encode_text cleans it.

    None where nobody can say: the tokenizer or its library is not installed, or cannot be read.
    """
    tokenizer = _tokenizer(model_folder(weights, card.name) / "tokenizer" / "tokenizer.json")
    if tokenizer is None:
        return None
    if card.pipeline.startswith("Wan"):
        text = re.sub(r"\s+", " ", html.unescape(html.unescape(text))).strip()
    return len(tokenizer.encode(text).ids)


@lru_cache(maxsize=4)
def _tokenizer(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(path)) if path.is_file() else None
    except Exception:  # whatever the library says of a broken file; rendering says it in full
        return None
