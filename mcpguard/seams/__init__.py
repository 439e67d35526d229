"""Seams: the code that puts the chain into somebody's session, client or transport.

The only place besides integrations and testing that imports `mcp`; the majors of the SDK are hidden here.
Above: `guard.py`. Below: `core`.
"""
