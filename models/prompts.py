"""Prompt embeddings, made once per text: kept in memory, and on disk as safetensors.

Knows: the cache's key (text, encoder, length). Does not know: which encoder makes them; it is handed in, used for all
missing texts at once, and dropped by its owner. Memory: one embedding per text (Wan: 512 x 4096 halves, 4 MB).
"""

from __future__ import annotations

import hashlib
import html
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Encode = Callable[[Sequence[str]], list[Any]]
"""Texts -> embeddings of shape (1, tokens, width), on the CPU."""


def encode_text(tokenizer: Any, encoder: Any, text: str, *, tokens: int, padded: bool) -> Any:
    """The text's embedding, (1, tokens, width) on the CPU, as diffusers' pipelines make it.

    `padded` (Wan): entities and spaces are cleaned, padding is masked and its embeddings are 0. ftfy, which diffusers
    runs where it happens to be installed, is left out: the same prompt must give the same pixels everywhere.
    """
    import torch

    if padded:
        text = re.sub(r"\s+", " ", html.unescape(html.unescape(text))).strip()
    made = tokenizer(
        [text],
        padding="max_length",
        max_length=tokens,
        truncation=True,
        add_special_tokens=True,
        return_attention_mask=True,
        return_tensors="pt",
    )
    ids, mask = made.input_ids.to(encoder.device), made.attention_mask.to(encoder.device)
    with torch.no_grad():
        embedding = encoder(ids, mask).last_hidden_state if padded else encoder(ids).last_hidden_state
    if padded:
        embedding[:, int(mask.sum()) :] = 0
    return embedding.cpu()


class PromptCache:
    """Embeddings by text, for one encoder."""

    def __init__(self, encoder: str, folder: Path | None) -> None:
        """`encoder` names all that embeddings depend on besides the text; `folder` is None for memory alone."""
        self._encoder = encoder
        self._folder = folder
        self._made: dict[str, Any] = {}

    def get(self, texts: Sequence[str], encode: Encode) -> list[Any]:
        """The embeddings of the texts, in order; `encode` is called at most once, for those nowhere to be found."""
        wanted = list(dict.fromkeys(texts))
        for text in wanted:
            if text not in self._made and (found := self._read(text)) is not None:
                self._made[text] = found
        if missing := [text for text in wanted if text not in self._made]:
            for text, made in zip(missing, encode(missing), strict=True):
                self._made[text] = made
                self._write(text, made)
        return [self._made[text] for text in texts]

    def key(self, text: str) -> str:
        """Hex digest of encoder and text."""
        return hashlib.sha256(f"{self._encoder}\0{text}".encode()).hexdigest()

    def _read(self, text: str) -> Any | None:
        from safetensors import SafetensorError, safe_open

        if self._folder is None:
            return None
        try:
            with safe_open(self._folder / f"{self.key(text)}.safetensors", framework="pt", device="cpu") as source:
                if (source.metadata() or {}).get("key") != self.key(text):
                    return None  # a foreign file is not an embedding: make it again
                return source.get_tensor("embedding")
        except (OSError, SafetensorError, KeyError):
            return None

    def _write(self, text: str, made: Any) -> None:
        from safetensors.torch import save_file

        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self.key(text)}.safetensors"
        attempt = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            save_file({"embedding": made.contiguous()}, attempt, metadata={"key": self.key(text)})
            os.replace(attempt, path)
        finally:
            attempt.unlink(missing_ok=True)
