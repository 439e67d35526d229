"""The controls, one file each; none imports another."""
