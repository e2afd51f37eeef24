"""Metadata that only who has the key can read: AES-GCM, in the envelope ``{_enc, nonce, ct, tag}``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from windlass.kernel.errors import ConfigError

SCHEME = "aesgcm:v1"
SEALED = "_encrypted"
NONCE_BYTES, TAG_BYTES = 12, 16
_KEY_BYTES = frozenset({16, 24, 32})
NEEDED = "it needs the package cryptography: install windlass[crypto]"


def read_key(text: str) -> bytes:
    """Return an AES key: 16, 24 or 32 bytes in base64; any other text is hashed."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    return key if len(key) in _KEY_BYTES else hashlib.sha256(text.encode()).digest()


class Sealer:
    """Seals and opens metadata.

    Args:
        key: seals new metadata; None leaves it readable.
        readers: keys that old metadata may have been sealed with, besides ``key``.

    Raises:
        ConfigError: there is a key and no cryptography.
    """

    def __init__(self, key: str | None = None, readers: Sequence[str] = ()) -> None:
        self._ciphers: list[Any] = []
        self.seals = key is not None
        texts = [*([] if key is None else [key]), *readers]
        if not texts:
            return
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  an extra
        except ImportError:
            if not self.seals:
                return
            raise ConfigError(f"WORKFLOWS_ARTIFACT_ENCRYPTION: {NEEDED}") from None
        self._ciphers = [AESGCM(read_key(text)) for text in texts]

    def seal(self, metadata: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return metadata as JSON text, and how it is encrypted (None: it is not)."""
        plain = orjson.dumps(dict(metadata))
        if not self.seals:
            return plain.decode(), None
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[0].encrypt(nonce, plain, None)
        parts = {"nonce": nonce, "ct": sealed[:-TAG_BYTES], "tag": sealed[-TAG_BYTES:]}
        envelope = {"_enc": SCHEME, **{name: base64.b64encode(part).decode() for name, part in parts.items()}}
        return orjson.dumps({SEALED: envelope}).decode(), SCHEME

    def open(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return metadata as it was given; ``{"_encrypted": true}`` when no key opens it."""
        envelope = metadata.get(SEALED)
        if not isinstance(envelope, Mapping):
            return dict(metadata)
        try:
            nonce, ct, tag = (base64.b64decode(envelope[name], validate=True) for name in ("nonce", "ct", "tag"))
        except (KeyError, TypeError, ValueError):
            return {SEALED: True}
        for cipher in self._ciphers if envelope.get("_enc") == SCHEME else ():
            try:
                plain = orjson.loads(cipher.decrypt(nonce, ct + tag, None))
            except Exception:  # noqa: BLE001, S112  another key's, or damaged: told below
                continue
            return dict(plain) if isinstance(plain, dict) else {SEALED: True}
        return {SEALED: True}
