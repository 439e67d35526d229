"""The MCP SDK's own test suites, run bare and run guarded, and compared.

A guard with nothing in it must be indistinguishable from none, and the SDK's authors have written
down, test by test, what a session does. From the top: `run` is the command, `workbench` fetches a
suite and installs what it needs, `compare` tells what the guard changed, `outcomes` and `plugin` are
loaded into the SDK's pytest, `records` is what these two leave behind. Nothing here is collected by
this project's own pytest.
"""
