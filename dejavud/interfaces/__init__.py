"""Sockets: each translates a protocol to the one command table and decides nothing."""
