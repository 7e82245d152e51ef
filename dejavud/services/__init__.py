"""What the daemon does, independent of who asks and of where postings live."""
