"""The configuration: conf file, environment and flags in one frozen tree.  Nothing below this floor reads any of them."""

from dejavud.config.arguments import Arguments, parse_arguments
from dejavud.config.loading import Loaded, load
from dejavud.config.sections import Address, Config, parse_address

__all__ = ["Address", "Arguments", "Config", "Loaded", "load", "parse_address", "parse_arguments"]
