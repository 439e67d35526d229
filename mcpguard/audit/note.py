"""Checkpoints as signed notes: how many records there are and what they hash to, signed with Ed25519.

The formats are C2SP's, `signed-note` and `tlog-checkpoint`, so that any witness or verifier for those reads
them. The origin is `mcpguard/<stream>/<number of the file>`; extension lines hold the chain's head, the
position of the last record and the time. Signing takes the extra `audit` (`cryptography`), loaded on use.
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Checkpoint", "Signer", "Verifier", "new_key", "notes_in"]

_ALGORITHM: Final = b"\x01"
"""C2SP signed-note: Ed25519."""

_PREFIX: Final = "PRIVATE+KEY+"

_NAME: Final = re.compile(r"[^\s+]+")

_HEAD: Final = re.compile(r"head ([0-9a-f]{64})")
_SEQ: Final = re.compile(r"seq (\d{1,18})")
_TIME: Final = re.compile(r"time (-?\d{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What is signed of one file of a trail.

    Args:
        stream: The trail's id.
        segment: Number of the file, from 1.
        size: Records in it.
        root: Merkle root over their hashes.
        head: Hash of the last of them, which covers all that came before, in earlier files too.
        seq: Position of the last of them in the trail.
        time_us: When it was signed, microseconds since the epoch, UTC.
    """

    stream: str
    segment: int
    size: int
    root: bytes
    head: bytes
    seq: int
    time_us: int

    @property
    def text(self) -> str:
        """What is signed."""
        root = base64.b64encode(self.root).decode()
        lines = (
            f"mcpguard/{self.stream}/{self.segment}",
            str(self.size),
            root,
            f"head {self.head.hex()}",
            f"seq {self.seq}",
            f"time {self.time_us}",
        )
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> "Checkpoint | None":
        """The checkpoint in a note's text; None if it is none of ours, to the letter."""
        lines = text.split("\n")
        if len(lines) != 7:
            return None
        origin = lines[0].split("/")
        known = [
            pattern.fullmatch(one) for pattern, one in zip((_HEAD, _SEQ, _TIME), lines[3:], strict=False)
        ]
        head, seq, time = known
        if len(origin) != 3 or head is None or seq is None or time is None:
            return None
        try:
            one = cls(
                stream=origin[1],
                segment=int(origin[2]),
                size=int(lines[1]),
                root=base64.b64decode(lines[2], validate=True),
                head=bytes.fromhex(head[1]),
                seq=int(seq[1]),
                time_us=int(time[1]),
            )
        except ValueError:
            return None
        return one if one.text == text else None


class Signer:
    """Signs checkpoints.

    Args:
        key: A private key as `new_key` makes it.

    Raises:
        ValueError: If it is no such key.
        ModuleNotFoundError: If `cryptography` is not installed.
    """

    def __init__(self, key: str) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        name, _, rest = key.strip().removeprefix(_PREFIX).partition("+")
        number, _, encoded = rest.partition("+")
        seed = _decoded(encoded)
        if not key.startswith(_PREFIX) or seed is None:
            raise ValueError("no private key of a note signer; `mcpguard audit keygen` makes one")
        self.name = name
        self._key: Ed25519PrivateKey = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._key.public_key().public_bytes_raw()
        self._hash = _key_hash(name, public)
        if number != self._hash.hex():
            raise ValueError("the private key's number is not that of its name and key; it was changed")
        self.verifier = f"{name}+{number}+{base64.b64encode(_ALGORITHM + public).decode()}"
        """The public half, for `Verifier`."""

    def note(self, checkpoint: Checkpoint) -> str:
        """The signed note."""
        text = checkpoint.text
        signature = base64.b64encode(self._hash + self._key.sign(text.encode())).decode()
        return f"{text}\n\u2014 {self.name} {signature}\n"

    def __repr__(self) -> str:
        return f"Signer({self.verifier!r})"


class Verifier:
    """Checks the signatures of one key.

    Args:
        key: The public key: `name+number+base64`.

    Raises:
        ValueError: If it is no such key.
        ModuleNotFoundError: If `cryptography` is not installed.
    """

    def __init__(self, key: str) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

        if key.lstrip().startswith(_PREFIX):
            raise ValueError(
                "this is the private key, and the public one is wanted:"
                " `mcpguard audit keygen --public FILE` prints it"
            )
        parts = key.strip().split("+", 2)
        public = _decoded(parts[2]) if len(parts) == 3 else None
        if public is None or _key_hash(parts[0], public).hex() != parts[1]:
            raise ValueError("no public key of a note verifier: name+number+base64")
        self.name = parts[0]
        self._hash = _key_hash(self.name, public)
        self._key: Ed25519PublicKey = Ed25519PublicKey.from_public_bytes(public)

    def checkpoint(self, note: str) -> Checkpoint | None:
        """The checkpoint in a note, if this key has signed it."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

        text, _, signatures = note.partition("\n\n")
        text += "\n"
        for line in signatures.splitlines():
            dash, _, rest = line.partition(" ")
            name, _, encoded = rest.partition(" ")
            if dash != "\u2014" or name != self.name:
                continue
            try:
                raw = base64.b64decode(encoded, validate=True)
                if raw[:4] == self._hash:
                    self._key.verify(raw[4:], text.encode())
                    return Checkpoint.parse(text)
            except (ValueError, InvalidSignature):
                continue
        return None


def new_key(name: str) -> tuple[str, str]:
    """A new private key and the public one that goes with it.

    Args:
        name: Who signs: a host or program, without spaces and plus signs.

    Raises:
        ValueError: If the name has either.
        ModuleNotFoundError: If `cryptography` is not installed.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    if not _NAME.fullmatch(name):
        raise ValueError("a signer's name has neither spaces nor plus signs, and is not empty")
    key = Ed25519PrivateKey.generate()
    number = _key_hash(name, key.public_key().public_bytes_raw()).hex()
    private = base64.b64encode(_ALGORITHM + key.private_bytes_raw()).decode()
    secret = f"{_PREFIX}{name}+{number}+{private}"
    return secret, Signer(secret).verifier


def notes_in(text: str) -> Iterator[str]:
    """The notes of a file that holds one after the other, with an empty line between them.

    A copy whose lines end in CR LF is read as well: signatures are over LF alone.
    """
    parts = text.replace("\r\n", "\n").split("\n\n")
    for body, signatures in zip(parts[::2], parts[1::2], strict=False):
        yield f"{body}\n\n{signatures.rstrip()}\n"


def _key_hash(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ALGORITHM + public).digest()[:4]


def _decoded(encoded: str) -> bytes | None:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError:
        return None
    return raw[1:] if raw[:1] == _ALGORITHM and len(raw) == 33 else None
