"""How well one's own music is recognized, and pictures of it: what ``dejavuctl evaluate`` and ``dejavuctl plot`` run."""
