"""What ``dejavuctl doctor`` asks of this machine, in a process of its own: what a library does to that process is an answer too."""
