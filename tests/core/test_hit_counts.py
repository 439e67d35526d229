"""Counts of limits that were hit: by server, and no more servers than are remembered."""

from mcpguard.core.hit_counts import MAX_SERVERS, HitCounts


def test_the_server_that_has_hit_nothing_for_longest_makes_room() -> None:
    """Names may be made up as a host goes along; memory stays bounded."""
    counts = HitCounts()
    for number in range(MAX_SERVERS):
        counts.add(f"s{number}", "depth")
    counts.add("s0", "depth")
    counts.add("new", "values")
    told = counts.by_server()
    assert len(told) == MAX_SERVERS
    assert "s1" not in told
    assert (told["s0"], told["new"]) == ({"depth": 2}, {"values": 1})
