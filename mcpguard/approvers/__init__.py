"""Ways to ask a person. An approver is any asynchronous function from a request to an answer."""
