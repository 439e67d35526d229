"""What is written against SDK 2.x: its session and client, a hub as its server object."""
