"""JSON, by the standard library; the lines come from a walk over the tokens of what it has accepted."""

import json
import re
from typing import Final, cast

from mcpguard.config.document import MAX_DEPTH, Node, Scalar, Tree, Unreadable
from mcpguard.core.errors import Problem

__all__ = ["read"]

_TOKEN: Final = re.compile(r'\n|"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\],:"]+')


def read(text: str) -> tuple[Node, list[Problem]]:
    """Read one JSON document.

    Raises:
        Unreadable: If it is not JSON, is empty or nests too deep.
    """
    if not text.strip():
        raise Unreadable('the file is empty; a policy begins with {"version": 1')
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON: {error.msg}", error.lineno) from None
    except RecursionError:
        raise Unreadable(f"nested more than {MAX_DEPTH} deep") from None
    except ValueError:
        raise Unreadable("not JSON: a number has too many digits") from None
    tree = Tree()
    line = 1
    for token in _TOKEN.findall(text):
        match token:
            case "\n":
                line += 1
            case "{":
                tree.begin({}, line)
            case "[":
                tree.begin([], line)
            case "}" | "]":
                tree.end()
            case _:
                tree.scalar(cast("Scalar", json.loads(token)), line)
    return cast("Node", tree.root), tree.problems
