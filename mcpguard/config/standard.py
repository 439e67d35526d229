"""What `Guard.standard()` is made of: what no honest agent notices.

It denies no tool and knows no rule; a policy says those.
"""

from collections.abc import Iterable

from mcpguard.core.events import Sink
from mcpguard.core.interceptor import Interceptor
from mcpguard.interceptors.inbound_requests import InboundRequests
from mcpguard.interceptors.loop_detector import LoopDetector
from mcpguard.interceptors.result_limit import ResultLimit
from mcpguard.interceptors.text_hygiene import TextHygiene
from mcpguard.sinks.logging import Logging

__all__ = ["standard_interceptors", "standard_sinks"]


def standard_interceptors(given: Iterable[Interceptor]) -> list[Interceptor]:
    """The standard interceptors among those given, whose order stays.

    Each stands at its place. One that is given takes the place of the standard one of its class.
    """
    chain = list(given)
    own = (InboundRequests(), LoopDetector(block_after=0), ResultLimit(), TextHygiene())
    for one in own:
        if any(isinstance(other, type(one)) for other in chain):
            continue
        further_in = (
            at
            for at, other in enumerate(chain)
            if one.place is not None
            and isinstance(other, Interceptor)
            and other.place is not None
            and other.place > one.place
        )
        chain.insert(next(further_in, len(chain)), one)
    return chain


def standard_sinks(given: Iterable[Sink]) -> list[Sink]:
    """The standard library's `logging`, and the sinks given; a `Logging` among them takes its place."""
    sinks = list(given)
    return sinks if any(isinstance(one, Logging) for one in sinks) else [Logging(), *sinks]
