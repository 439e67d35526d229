"""Verify a trail: follow its chain, hold its checkpoints against it, and say where it first goes wrong.

What it can show depends on what it is given. The trail alone shows accidents. Checkpoints under a key that
the forger does not have show rewriting up to the last of them. An anchor, checkpoints kept where the forger
cannot write, shows an end that was cut off and an old copy put back. What was written after the last
checkpoint is covered by nothing but the chain.
"""

from collections.abc import Iterable, Sequence

from mcpguard.audit.note import Checkpoint, Verifier, notes_in
from mcpguard.audit.reading import Trail
from mcpguard.audit.verdict import Finding, Verdict
from mcpguard.audit.walk import Walk

__all__ = ["verify"]


def verify(trail: Trail, *, keys: Sequence[Verifier] = (), anchors: Iterable[str] = ()) -> Verdict:
    """Verify a trail.

    Args:
        trail: What lies there.
        keys: Public keys that may sign its checkpoints; without any, signatures are not checked.
        anchors: Texts with the checkpoints that were kept elsewhere.
    """
    verdict = Verdict()
    texts = tuple(anchors)
    own = _read_notes(trail.notes, keys, verdict, "checkpoints")
    elsewhere = [one for text in texts for one in _read_notes(text, keys, verdict, "anchor")]
    walk = Walk(verdict, [*own, *elsewhere])
    for number, segment in enumerate(trail.segments):
        if not walk.follow(segment, is_last=number == len(trail.segments) - 1):
            break
    else:
        walk.check_announced([*own, *elsewhere])
    walk.check_checkpoints(bool(keys))
    if texts and not any(one.stream == verdict.stream for one in elsewhere):
        what = "has no checkpoint of this trail: another one lies here"
        verdict.findings.append(Finding("tampered", "anchor", what))
    if keys and not any(one.stream == verdict.stream for one in (*own, *elsewhere)):
        what = "nothing of this trail is signed by the given key"
        verdict.findings.append(Finding("tampered" if own else "incomplete", "checkpoints", what))
    return verdict


def _read_notes(text: str, keys: Sequence[Verifier], verdict: Verdict, where: str) -> list[Checkpoint]:
    """The checkpoints in a text: signed by one of the keys, or as they stand where there are none."""
    found: list[Checkpoint] = []
    for note in notes_in(text):
        if keys:
            one = next((seen for key in keys if (seen := key.checkpoint(note)) is not None), None)
            what = "one is not signed by a key that was given"
        else:
            one = Checkpoint.parse(note.partition("\n\n")[0] + "\n")
            what = "one cannot be read"
        if one is None:
            verdict.findings.append(Finding("tampered", where, what))
        else:
            found.append(one)
    return found
