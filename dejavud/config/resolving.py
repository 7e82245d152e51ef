"""What the configuration leaves to the machine it runs on, and what it must not do there."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.config.hook_settings import resolved_hooks
from dejavud.config.sections import Config, parse_address
from dejavud.errors import InvalidConfig
from dejavud.fingerprint.params import Params
from dejavud.fingerprint.profiles import LANDMARK
from dejavud.wire.endpoints import control_endpoint, events_endpoint, ipc_path, user_runtime_dir

if TYPE_CHECKING:
    from collections.abc import Mapping


def resolved(config: Config, environment: Mapping[str, str], working_dir: Path, origins: Mapping[str, str]) -> Config:
    """Return `config` with its empty places filled in, and its folders absolute."""
    given = config.data
    data_dir = _folder(given.dir, environment, working_dir) if given.dir else default_data_dir(environment)
    runtime_dir = (
        _folder(given.runtime_dir, environment, working_dir) if given.runtime_dir else default_runtime_dir(environment)
    )
    data = replace(
        given,
        dir=str(data_dir),
        url=given.url or f"duckdb:///{data_dir}/dejavud.duckdb",
        runtime_dir=str(runtime_dir),
    )
    control = config.control.endpoint or control_endpoint(runtime_dir)
    events = config.events.endpoint or events_endpoint(runtime_dir)
    return replace(
        config,
        data=data,
        control=replace(config.control, endpoint=control),
        events=replace(config.events, endpoint=events),
        tls=replace(
            config.tls,
            **{
                name: str(_folder(path, environment, working_dir))
                for name, path in (("certificate", config.tls.certificate), ("key", config.tls.key))
                if path
            },
        ),
        hooks=resolved_hooks(config.hooks, environment, origins, lambda text: _folder(text, environment, working_dir)),
    )


def default_data_dir(environment: Mapping[str, str]) -> Path:
    """Return systemd's StateDirectory, else ``dejavud`` in the user's data folder."""
    if state := environment.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0])
    return Path(environment.get("XDG_DATA_HOME") or f"{_home(environment)}/.local/share") / "dejavud"


def default_runtime_dir(environment: Mapping[str, str]) -> Path:
    """Return systemd's RuntimeDirectory, else where this user's programs look for the daemon."""
    if runtime := environment.get("RUNTIME_DIRECTORY"):
        return Path(runtime.split(":")[0])
    return user_runtime_dir(environment)


def check_engine(params: Params, origins: Mapping[str, str]) -> None:
    """Raise `InvalidConfig` when parameters that are allowed one by one do not go together."""
    if params.profile != LANDMARK:
        _refuse_changes(params, origins)
    pairs = (
        ("hop_samples", params.hop_samples, "n_fft", params.n_fft),
        ("bin_min", params.bin_min + 1, "bin_max", params.bin_max),
        ("bin_max", params.bin_max, "n_fft", params.n_fft // 2 + 1),
        ("dt_min_frames", params.dt_min_frames, "dt_max_frames", params.dt_max_frames),
    )
    for low, low_value, high, high_value in pairs:
        if low_value > high_value:
            origin = origins.get(f"engine.{low}") or origins.get(f"engine.{high}") or "default"
            reason = f"engine.{low} = {getattr(params, low)} is too large for engine.{high} = {getattr(params, high)}"
            raise InvalidConfig(origin=origin, reason=reason)


def _refuse_changes(params: Params, origins: Mapping[str, str]) -> None:
    """Raise `InvalidConfig` for a parameter of our own profile that would be without effect; as the conf file ships it, it may stand."""
    usual = Params()
    for field in fields(Params):
        value = getattr(params, field.name)
        if field.name != "profile" and value != getattr(usual, field.name):
            reason = (
                f"engine.{field.name} = {value} belongs to the profile {LANDMARK}; {params.profile} has the constants of its "
                "generation of dejavu, which cannot be changed: leave it out"
            )
            raise InvalidConfig(origin=origins.get(f"engine.{field.name}", "default"), reason=reason)


def check_exposure(config: Config, origins: Mapping[str, str]) -> None:
    """Raise `InvalidConfig` when something listens beyond this machine and no token guards it, or ZeroMQ where anybody could listen in."""
    for section, endpoint in (("control", config.control.endpoint), ("events", config.events.endpoint)):
        if ipc_path(endpoint) is None:
            address = endpoint.partition("://")[2]
            reason = (
                f"{section}.endpoint = {endpoint!r} would be open to whoever is on the way: over TCP ZeroMQ is spoken with keys. Write "
                f'{section}.listen = ["{address}"] instead, and give each client a key: dejavuctl keys add NAME'
            )
            raise InvalidConfig(origin=origins.get(f"{section}.endpoint", "default"), reason=reason)
    check_tls(config, origins)
    if config.security.token:
        return
    wide = {
        "http.listen": [a for a in config.http.listen if not parse_address(a).is_loopback],
        "websocket.listen": [a for a in config.websocket.listen if not parse_address(a).is_loopback],
    }
    from dejavud.services.tokens import read_tokens  # noqa: PLC0415 - brings OpenSSL along, which --help need not wait for

    for key, addresses in wide.items():
        if addresses and not read_tokens(Path(config.data.dir)):
            reason = (
                f"{key} = {addresses[0]!r} can be reached from other machines, and nothing asks who they are: make a token for each "
                "(dejavuctl tokens add NAME, while the daemon listens on 127.0.0.1), or set security.token in conf (or "
                "DEJAVUD_SECURITY_TOKEN), which every client must then send, or listen on 127.0.0.1"
            )
            raise InvalidConfig(origin=origins.get(key, "default"), reason=reason)


def check_tls(config: Config, origins: Mapping[str, str]) -> None:
    """Raise `InvalidConfig` where a certificate is without its key, or the other way round."""
    given = {"tls.certificate": config.tls.certificate, "tls.key": config.tls.key}
    if any(given.values()) and not all(given.values()):
        key, missing = sorted(given, key=lambda name: not given[name])
        raise InvalidConfig(
            origin=origins.get(key, "default"), reason=f"{key} is set and {missing} is not: TLS needs both"
        )


def _home(environment: Mapping[str, str]) -> str:
    if home := environment.get("HOME"):
        return home
    reason = (
        "neither HOME nor STATE_DIRECTORY says where the data may be kept: set data.dir, or start with --data-dir DIR"
    )
    raise InvalidConfig(origin="environment", reason=reason)


def _folder(text: str, environment: Mapping[str, str], working_dir: Path) -> Path:
    if text == "~" or text.startswith("~/"):
        text = _home(environment) + text[1:]
    return working_dir / text
