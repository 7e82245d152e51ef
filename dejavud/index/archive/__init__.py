"""Libraries as files: exported, imported, backed up and restored."""
