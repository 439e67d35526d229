"""Seams: the code that puts the chain into somebody's session, client or transport.

The only place besides integrations and testing that imports `mcp`; its majors are hidden here, in `sdk1` and
`sdk2`. `streams` is a transport under guard, `limits` a connection within limits. Beside them stand what all
seams have in common, and one module for each thing that can be guarded.

Above: `guard.py`. Below: `core`.
"""
