"""A stand-in of LMCache, as much of it as Maru's packages use: LMCache is not in Debian. Written from the interface."""
