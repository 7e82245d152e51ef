"""Hooks: what leaves the daemon for other programs (webhooks, MQTT, a file, MPRIS), each by itself and only when switched on."""
