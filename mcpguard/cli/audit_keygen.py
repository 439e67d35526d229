"""`mcpguard audit keygen`: a private key into a file of its own, the public one on stdout."""

import argparse
import os
from pathlib import Path

from mcpguard.cli.output import fail, write

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Make a key; 0, or 2 if the file is there already or cannot be made."""
    from mcpguard.audit.note import new_key

    try:
        secret, public = new_key(arguments.name)
        descriptor = os.open(Path(arguments.out), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except ModuleNotFoundError:
        return fail(["keys take the extra `audit`: pip install 'mcpguard-inline[audit]'"])
    except OSError as error:
        return fail([f"{arguments.out}: cannot be made: {error.strerror}"])
    except ValueError as error:
        return fail([str(error)])
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{secret}\n")
    write(public)
    return 0
