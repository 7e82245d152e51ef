"""How texts are compared: without case, accents and other marks."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """Return `text` as it is compared: without case, accents and other marks."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))
