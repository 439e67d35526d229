"""The audit trail: canonical records, their hash chain and checkpoints, and reading them back.

Above: sinks, which keep a trail somewhere. Below: `core.events`, what is recorded.
"""
