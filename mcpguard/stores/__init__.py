"""Where limits keep what has been used."""
