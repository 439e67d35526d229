"""Where events go, one file each; none imports another."""
