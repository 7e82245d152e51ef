"""The embedded database: one DuckDB file."""
