"""Databases through SQLAlchemy: PostgreSQL, MySQL and MariaDB, SQLite, and several servers together."""
