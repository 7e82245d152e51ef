"""Where tracks, constellations and postings live."""
