"""Ed25519 keys in files, and signatures with them.

A private key is PKCS #8 in PEM without a password, a public one SubjectPublicKeyInfo in PEM: what `openssl genpkey
-algorithm ed25519` and `openssl pkey -pubout` write. What is signed begins with a word that says what for, so that a
signature is never good for something else.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fl_ef21.errors import InputError

Private = Ed25519PrivateKey
Public = Ed25519PublicKey
SIZE = 64  # bytes of a signature
MOST = 1 << 16  # bytes that a key's file is read to

INSTRUCTION, REPLY = b"fl-ef21 instruction 1\0", b"fl-ef21 reply 1\0"


def pair() -> tuple[bytes, bytes]:
    """A new key: private and public, as files hold them."""
    key = Private.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def make(private: Path, public: Path) -> None:
    """A new key in two files, of which the first is for its owner alone.

    Raises: FileExistsError where one of them is there: a key that is in use is never replaced.
    """
    if public.exists():
        raise FileExistsError(f"{public} is there already")
    for path, body, mode in zip((private, public), pair(), (0o600, 0o644), strict=True):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(body)


def private_key(field: str, path: Path) -> Private:
    """The private key in a file. Raises: InputError about `field`."""
    try:
        key = serialization.load_pem_private_key(_text(field, path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(field, str(path), f"holds no private key in PEM without a password: {error}") from None
    if not isinstance(key, Private):
        raise InputError(field, str(path), f"holds {type(key).__name__}; message keys are Ed25519")
    return key


def public_key(field: str, path: Path) -> Public:
    """The public key in a file. Raises: InputError about `field`."""
    try:
        key = serialization.load_pem_public_key(_text(field, path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(field, str(path), f"holds no public key in PEM: {error}") from None
    if not isinstance(key, Public):
        raise InputError(field, str(path), f"holds {type(key).__name__}; message keys are Ed25519")
    return key


def sign(key: Private, domain: bytes, told: bytes) -> bytes:
    """SIZE bytes."""
    return key.sign(domain + told)


def holds(key: Public, signature: bytes, domain: bytes, told: bytes) -> bool:
    """Whether the owner of this key has signed this."""
    try:
        key.verify(signature, domain + told)
    except InvalidSignature:
        return False
    return True


def _text(field: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST)
    except OSError as error:
        raise InputError(field, str(path), f"cannot be read: {error.strerror}") from error
