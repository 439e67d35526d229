"""What is written against SDK 1.x: its session, servers' requests to it, a hub as its server object."""
