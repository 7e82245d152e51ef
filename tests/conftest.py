"""Fixtures that tests of several floors share."""

pytest_plugins = ["fixtures_sound"]
