"""The library for a program of your own, without a daemon: the calls of dejavu's users, over the same engine."""

from dejavud.api.dejavu import Dejavu
from dejavud.api.fingerprints import Fingerprints, Matches
from dejavud.api.folders import FolderReport
from dejavud.api.songs import SongDatabase

__all__ = ["Dejavu", "Fingerprints", "FolderReport", "Matches", "SongDatabase"]
