"""Pure functions and state machines that interceptors are made of: no `async`, no clock, no I/O."""
