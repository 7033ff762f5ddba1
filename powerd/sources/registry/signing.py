"""The ed25519 key this machine is known by to Ollama's registry (contract section 3.1)."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from powerd.errors import SourceFailed

#: Base64 of the hex SHA-256 of no bytes: what stands in a signature for the body of a GET.
_NO_BODY = "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="


class SigningKey:
    """An OpenSSH ed25519 key file and its `.pub` beside it, as `ssh-keygen -t ed25519` makes them."""

    def __init__(self, private: Ed25519PrivateKey) -> None:

        line = private.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
        self._private = private
        self.public_line = line.decode("ascii")

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read the key, or make it when there is none. Blocks. Raises SourceFailed naming the file."""
        try:
            key = forms.load_ssh_private_key(path.read_bytes(), password=None)
        except FileNotFoundError:
            return cls._make(path)
        except OSError as error:
            raise SourceFailed(f"the registry key {path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise SourceFailed(f"{path} is not an unencrypted OpenSSH private key") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise SourceFailed(f"{path} is not an ed25519 key")
        return cls(key)

    @classmethod
    def _make(cls, path: Path) -> SigningKey:

        private = Ed25519PrivateKey.generate()
        made = cls(private)
        data = private.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, forms.NoEncryption())
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_new(path, data, 0o600)
            path.with_name(f"{path.name}.pub").write_text(f"{made.public_line}\n")
        except OSError as error:
            raise SourceFailed(f"the registry key {path} cannot be made: {error.strerror}") from None
        return made

    def sign_get(self, url: str) -> str:
        """The Authorization header of a GET of `url`: the key and a signature, no scheme before them."""
        signature = self._private.sign(f"GET,{url},{_NO_BODY}".encode())
        return f"{self.public_line.split()[1]}:{base64.b64encode(signature).decode()}"


def _write_new(path: Path, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
