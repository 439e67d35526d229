"""Checksums that tokens carry, so that one is known for what it is.

GitHub's and npm's tokens end in the CRC-32 of what stands before it, in base 62 (GitHub engineering blog,
2021-04-05); age keys are Bech32 (BIP 173); a JSON Web Token begins with a JOSE header (RFC 7519).
"""

import binascii
import json
from typing import Final, cast

__all__ = ["has_bech32", "has_crc32", "is_jwt"]

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)

_HEAD: Final = 4096
"""Characters of a token's header that are read."""


def has_crc32(token: str) -> bool:
    """Whether the last six characters are the checksum of those between the prefix and them."""
    body = token[token.rindex("_") + 1 :]
    rest, digits = binascii.crc32(body[:-6].encode()), ""
    while rest:
        rest, digit = divmod(rest, 62)
        digits = _BASE62[digit] + digits
    return body[-6:] == digits.rjust(6, "0")


def has_bech32(key: str) -> bool:
    """Whether a key in Bech32 has its checksum."""
    name, _, data = key.lower().rpartition("1")
    values = [ord(char) >> 5 for char in name] + [0] + [ord(char) & 31 for char in name]
    check = 1
    for value in [*values, *(_BECH32.find(char) for char in data)]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for position, generator in enumerate(_GENERATOR):
            check ^= generator if top >> position & 1 else 0
    return check == 1


def is_jwt(token: str) -> bool:
    """Whether the first part is the header of a signed token."""
    head = token.partition(".")[0]
    if len(head) > _HEAD:
        return True
    try:
        header: object = json.loads(binascii.a2b_base64(head.replace("-", "+").replace("_", "/") + "=="))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in cast("dict[str, object]", header)
