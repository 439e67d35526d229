"""`mcpguard audit keygen`: a private key into a file of its own, the public one on stdout."""

import argparse
import os
from pathlib import Path

from mcpguard.cli.output import fail, write

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Make a key, or show its public half; 0, or 2 if the file cannot be made or holds no key."""
    if (arguments.name is None) == (arguments.public is None):
        return fail(["keygen takes NAME and --out FILE, or --public FILE alone"])
    try:
        write(_made(arguments.name, arguments.out) if arguments.public is None else _read(arguments.public))
    except ModuleNotFoundError:
        return fail(["keys take the extra `audit`: pip install 'mcpguard-inline[audit]'"])
    except OSError as error:
        what = "made" if arguments.public is None else "read"
        return fail([f"{arguments.public or arguments.out}: cannot be {what}: {error.strerror}"])
    except ValueError as error:
        return fail([str(error)])
    return 0


def _made(name: str, out: str) -> str:
    """The public half of a new key, whose private one is in a new file."""
    from mcpguard.audit.note import new_key

    secret, public = new_key(name)
    descriptor = os.open(Path(out), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{secret}\n")
    return public


def _read(path: str) -> str:
    """The public half of the key in a file."""
    from mcpguard.audit.note import Signer

    return Signer(Path(path).read_text("utf-8")).verifier
