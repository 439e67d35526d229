"""A connection within limits: what a server may send, how long it may keep anybody waiting, a new one."""
