"""The resident view: immutable segments, mapped into memory, derived from a store."""
