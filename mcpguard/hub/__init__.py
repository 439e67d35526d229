"""Several guarded servers as one: their tools in one list, each call to the server it is for."""
