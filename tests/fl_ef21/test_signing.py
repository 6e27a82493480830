"""Keys in files: made once, read with errors that say what is wrong."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key

from fl_ef21 import signing
from fl_ef21.errors import InputError

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    private, public = tmp_path / "one.key", tmp_path / "one.pub"
    signing.make(private, public)
    return private, public


def test_what_a_key_signs_its_public_half_knows(keys: tuple[Path, Path]) -> None:
    private, public = signing.private_key("a", keys[0]), signing.public_key("b", keys[1])
    signature = signing.sign(private, signing.REPLY, b"told")
    assert len(signature) == signing.SIZE
    assert signing.holds(public, signature, signing.REPLY, b"told")


def test_a_signature_is_good_for_nothing_else(keys: tuple[Path, Path]) -> None:
    private, public = signing.private_key("a", keys[0]), signing.public_key("b", keys[1])
    signature = signing.sign(private, signing.REPLY, b"told")
    assert not signing.holds(public, signature, signing.INSTRUCTION, b"told")
    assert not signing.holds(public, signature, signing.REPLY, b"tole")
    for bit in range(0, 8 * signing.SIZE, 7):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not signing.holds(public, bytes(flipped), signing.REPLY, b"told")


def test_signatures_of_any_length_are_judged_not_raised_on(keys: tuple[Path, Path]) -> None:
    public = signing.public_key("b", keys[1])
    assert not any(signing.holds(public, bytes(size), signing.REPLY, b"told") for size in (0, 1, 63, 64, 65, 1000))


def test_a_private_key_is_its_owners_alone(keys: tuple[Path, Path]) -> None:
    assert keys[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("there", [0, 1])
def test_a_key_that_is_there_is_not_replaced(tmp_path: Path, there: int) -> None:
    paths = tmp_path / "one.key", tmp_path / "one.pub"
    paths[there].write_text("mine")
    with pytest.raises(FileExistsError):
        signing.make(*paths)
    assert paths[there].read_text() == "mine" and not paths[1 - there].exists()


def test_a_file_that_is_no_key_is_named(keys: tuple[Path, Path], tmp_path: Path) -> None:
    other, curve = tmp_path / "other", generate_private_key(SECP384R1())
    other.write_bytes(curve.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    secret, noise, absent = tmp_path / "secret", tmp_path / "noise", tmp_path / "absent"
    secret.write_bytes(curve.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"word")))
    noise.write_bytes(bytes(range(256)))
    public = tmp_path / "public"
    public.write_bytes(curve.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    wrong = {
        signing.private_key: {other: "Ed25519", secret: "password", noise: "private key", absent: "No such file",
                              keys[1]: "private key"},
        signing.public_key: {public: "Ed25519", noise: "public key", absent: "No such file", keys[0]: "public key"},
    }  # fmt: skip
    for load, paths in wrong.items():
        for path, words in paths.items():
            with pytest.raises(InputError, match=words) as caught:
                load("node-config.message-key", path)
            assert caught.value.field == "node-config.message-key" and caught.value.value == str(path)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl program")
def test_keys_that_openssl_makes_are_taken(tmp_path: Path) -> None:
    private, public = tmp_path / "private", tmp_path / "public"
    made = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], capture_output=True)
    if made.returncode:
        pytest.skip("this openssl knows no Ed25519")
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    signature = signing.sign(signing.private_key("a", private), signing.REPLY, b"told")
    assert signing.holds(signing.public_key("b", public), signature, signing.REPLY, b"told")
