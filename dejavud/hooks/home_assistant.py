"""What MQTT says of listeners, and how Home Assistant learns of them: pure functions from what plays to topics and payloads.

Discovery: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavud import __version__
from dejavud.hooks.now_playing import identifier
from dejavud.wire.codec import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dejavud.hooks.now_playing import ListenerNow, NowPlaying, Playing
    from dejavud.hooks.settings import HookSettings

MAX_STATE = 255
"""Characters of a state in Home Assistant."""
HEARS = ("listening", "silent")
"""States in which a listener hears its source."""


def availability_topic(settings: HookSettings) -> str:
    """Return where the daemon says ``online``, and the broker ``offline`` for one that is gone."""
    return f"{settings.mqtt_prefix}/availability"


def topics_of(settings: HookSettings, slug: str) -> Mapping[str, str]:
    """Return the topics that are kept of one listener, by what they hold."""
    topics = {what: f"{settings.mqtt_prefix}/{slug}/{what}" for what in ("now_playing", "state")}
    if settings.mqtt_discovery:
        entity = f"{_device(settings)}_{slug}"
        topics["sensor"] = f"{settings.mqtt_discovery}/sensor/{entity}_now_playing/config"
        topics["binary_sensor"] = f"{settings.mqtt_discovery}/binary_sensor/{entity}_listening/config"
    return topics


def retained(settings: HookSettings, now: NowPlaying) -> dict[str, bytes]:
    """Return everything that the broker is to keep, by topic."""
    payloads = {}
    for name, listener in now.listeners.items():
        slug = identifier(name)
        topics = topics_of(settings, slug)
        payloads[topics["now_playing"]] = encode(playing_payload(name, listener.latest))
        payloads[topics["state"]] = encode(_state_payload(name, listener))
        if settings.mqtt_discovery:
            payloads[topics["sensor"]] = encode(_sensor(settings, slug, name))
            payloads[topics["binary_sensor"]] = encode(_binary_sensor(settings, slug, name))
    return payloads


def playing_payload(listener: str, play: Playing | None) -> dict[str, Any]:
    """Return what plays; `text` is a line for people, empty where nothing plays."""
    if play is None:
        return {"listener": listener, "playing": False, "text": ""}
    return {
        "listener": listener,
        "playing": True,
        "text": play.text("{artist} - {title}")[:MAX_STATE],
        "artist": play.artist or None,
        "title": play.title,
        "album": play.album or None,
        "track_id": play.track.get("id"),
        "duration_s": play.track.get("duration_s"),
        "position_s": play.position_s,
        "started_at": play.started_at,
        "confidence": play.confidence,
        "play": play.play,
    }


def _state_payload(name: str, listener: ListenerNow) -> dict[str, Any]:
    view = listener.view
    return {
        "listener": name,
        "state": view.get("state"),
        "reason": view.get("reason"),
        "source": view.get("source"),
    }


def _sensor(settings: HookSettings, slug: str, name: str) -> dict[str, Any]:
    topic = topics_of(settings, slug)["now_playing"]
    return {
        **_entity(settings, slug, name, "now_playing"),
        "name": "Now playing",
        "icon": "mdi:music-note",
        "state_topic": topic,
        "value_template": "{{ value_json.text or 'nothing' }}",
        "json_attributes_topic": topic,
    }


def _binary_sensor(settings: HookSettings, slug: str, name: str) -> dict[str, Any]:
    topic = topics_of(settings, slug)["state"]
    return {
        **_entity(settings, slug, name, "listening"),
        "name": "Listening",
        "device_class": "running",
        "state_topic": topic,
        "value_template": "{{ 'ON' if value_json.state in " + str(list(HEARS)) + " else 'OFF' }}",
        "json_attributes_topic": topic,
    }


def _entity(settings: HookSettings, slug: str, name: str, what: str) -> dict[str, Any]:
    device = _device(settings)
    return {
        "unique_id": f"{device}_{slug}_{what}",
        "availability_topic": availability_topic(settings),
        "device": {
            "identifiers": [f"{device}_{slug}"],
            "name": f"{settings.mqtt_prefix} {name}",
            "manufacturer": "dejavud",
            "model": "Music recognition",
            "sw_version": __version__,
        },
        "origin": {"name": "dejavud", "sw_version": __version__},
    }


def _device(settings: HookSettings) -> str:
    return identifier(settings.mqtt_prefix)
