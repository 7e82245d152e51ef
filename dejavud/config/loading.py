"""From conf file, environment and flags to one checked `Config`, with the origin of every value."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

from dejavud.config.credentials import DATABASE_PASSWORD, credentials_of, with_password
from dejavud.config.hidden import shown_source
from dejavud.config.resolving import check_engine, check_exposure, resolved
from dejavud.config.rules import RULES
from dejavud.config.sections import SECRETS, Config, Key, keys
from dejavud.config.tables import is_table, tables_of
from dejavud.errors import InvalidConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dejavud.config.arguments import Arguments

SYSTEM_CONF = Path("/etc/dejavud/dejavud.toml")
_CLIENT_VARIABLES = frozenset({"DEJAVUD_CONTROL", "DEJAVUD_EVENTS", "DEJAVUD_TOKEN"})
"""What dejavuctl reads: a daemon started from the same shell lets them be."""
_PREFIX = "DEJAVUD_"


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that somebody gave to a key, and who: ``--http``, ``DEJAVUD_HTTP_LISTEN``, ``/etc/…/dejavud.toml, line 12``."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration in force.

    origins : by dotted key, where its value comes from; a key that is not here has its default.
    """

    config: Config
    origins: Mapping[str, str]


def load(arguments: Arguments, environment: Mapping[str, str], working_dir: Path) -> Loaded:
    """Return the configuration: flags over environment over credentials over ``.env`` over the conf file over the defaults.

    Raises `InvalidConfig` whose message names the place of the mistake and what is allowed there.
    """
    conf = arguments.config or find_conf(environment)
    settings: dict[str, Setting] = {}
    if conf is not None:
        settings |= settings_of_toml(_read(conf), str(conf))
    settings |= settings_of_environment(_dotenv(working_dir / ".env"), suffix=" in .env")
    credentials = credentials_of(environment)
    password = credentials.pop(DATABASE_PASSWORD, None)
    settings |= {key: Setting(text, f"credential {key}") for key, text in credentials.items()}
    settings |= settings_of_environment(environment)
    settings |= {key: Setting(text, _flag_of(key)) for key, text in arguments.settings.items()}
    config = config_of(settings)
    origins = {key: setting.origin for key, setting in settings.items()}
    if password is not None:
        config = replace(config, data=replace(config.data, url=with_password(config.data.url, password)))
        origins["data.url"] += f", and the credential {DATABASE_PASSWORD}"
    check_engine(config.engine, origins)
    config = resolved(config, environment, working_dir, origins)
    check_exposure(config, origins)
    return Loaded(config, origins)


def find_conf(environment: Mapping[str, str]) -> Path | None:
    """Return the conf file that is used when none is named; None where there is none."""
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '/nonexistent')}/.config"
    for path in (Path(home) / "dejavud" / "dejavud.toml", SYSTEM_CONF):
        if path.is_file():
            return path
    return None


def config_of(settings: Mapping[str, Setting]) -> Config:
    """Return the defaults with `settings` over them; raises `InvalidConfig` for unknown keys and values that are not allowed."""
    config = Config()
    values: dict[str, dict[str, Any]] = {}
    for dotted, setting in settings.items():
        key = _key(dotted, setting.origin)
        values.setdefault(key.section, {})[key.name] = _checked(dotted, key, setting)
    sections = {section: replace(getattr(config, section), **given) for section, given in values.items()}
    return replace(config, **sections)


def settings_of_toml(text: str, origin: str) -> dict[str, Setting]:
    """Return the settings of a conf file; keys that do not exist are among them."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(origin=origin, reason=f"this is not TOML: {error}") from None
    settings = {}
    for section, values in document.items():
        where = f"{origin}{_line_of(text, section)}"
        if not isinstance(values, dict):
            _refuse_section(section, where)
            raise InvalidConfig(
                origin=where, reason=f"{section!r} is a section: write [{section}] and its keys below it"
            )
        if section not in {field.name for field in fields(Config)}:
            _refuse_section(section, where)
        for name, value in values.items():
            settings[f"{section}.{name}"] = Setting(value, f"{origin}{_line_of(text, section, name)}")
    return settings


def settings_of_environment(environment: Mapping[str, str], suffix: str = "") -> dict[str, Setting]:
    """Return the settings of environment variables: DATABASE_URL and DEJAVUD_SECTION_KEY."""
    settings = {}
    if url := environment.get("DATABASE_URL"):
        settings["data.url"] = Setting(url, f"DATABASE_URL{suffix}")
    by_variable = {_PREFIX + dotted.replace(".", "_").upper(): dotted for dotted in keys()}
    for variable, text in environment.items():
        if not variable.startswith(_PREFIX) or variable in _CLIENT_VARIABLES:
            continue
        if variable not in by_variable:
            reason = f"there is no such setting{_did_you_mean(variable, by_variable)}"
            raise InvalidConfig(origin=variable + suffix, reason=reason)
        settings[by_variable[variable]] = Setting(text, variable + suffix)
    return settings


def _read(conf: Path) -> str:
    try:
        return conf.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidConfig(origin=str(conf), reason=f"the conf file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidConfig(origin=str(conf), reason=f"the conf file is not UTF-8 text: {error}") from None


_DOTENV_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")


def _dotenv(path: Path) -> dict[str, str]:
    """Return the variables of a ``.env`` file that are ours; nothing where there is no such file."""
    if not path.is_file():
        return {}
    found = {}
    for line in _read(path).splitlines():
        parts = _DOTENV_LINE.fullmatch(line)
        if parts is None or not (parts[1] == "DATABASE_URL" or parts[1].startswith(_PREFIX)):
            continue
        quoted = re.fullmatch(r"(['\"])(.*)\1(?:\s+#.*)?", parts[2])
        found[parts[1]] = quoted[2] if quoted else re.sub(r"\s+#.*", "", parts[2])
    return found


def _line_of(text: str, section: str, name: str | None = None) -> str:
    """Return ``, line N`` of a section or of a key in it; empty where it is written in a way that is not worth finding."""
    for number, at, key in _keys_in(text):
        if (at, key) == (section, name) or (name is None and (at, key) == ("", section)):
            return f", line {number}"
    return ""


def _keys_in(text: str) -> Iterator[tuple[int, str, str | None]]:
    """Yield line number, section and key of every line that opens a section (key None) or sets a key."""
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w-]+)\s*\]", line):
            section = header[1]
            yield number, section, None
        elif dotted := re.match(r"\s*([\w-]+)\s*\.\s*([\w-]+)\s*=", line):
            yield number, dotted[1], dotted[2]
        elif plain := re.match(r"\s*([\w-]+)\s*=", line):
            yield number, section, plain[1]


def _refuse_section(section: str, where: str) -> None:
    known = [field.name for field in fields(Config)]
    if section not in known:
        reason = f"there is no section [{section}]{_did_you_mean(section, known)}"
        raise InvalidConfig(origin=where, reason=reason)


def _key(dotted: str, origin: str) -> Key:
    key = keys().get(dotted)
    if key is None:
        reason = f"there is no setting {dotted!r}{_did_you_mean(dotted, keys())}"
        raise InvalidConfig(origin=origin, reason=reason)
    return key


def _did_you_mean(given: str, known: Mapping[str, object] | list[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"


def _flag_of(dotted: str) -> str:
    from dejavud.config.arguments import FLAG_KEYS  # noqa: PLC0415 - arguments is not needed to load without a command line

    return "--" + next(option for option, key in FLAG_KEYS.items() if key == dotted).replace("_", "-")


_MAY_HOLD_PASSWORD = "hooks.mqtt_url"  # noqa: S105 - a key's name; where one is written there, it is refused
_KIND_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _checked(dotted: str, key: Key, setting: Setting) -> Any:  # noqa: ANN401 - a value of the key's type
    """Return the value as its key has it; raises `InvalidConfig` that says what is allowed."""
    is_list = get_origin(key.kind) is tuple
    shown = "what it is set to" if dotted in SECRETS | {_MAY_HOLD_PASSWORD} else repr(setting.value)
    if dotted == "listen.sources":
        shown = shown_source(shown)
    is_tables = is_list and is_table(get_args(key.kind)[0])
    wanted = "a list of tables" if is_tables else "a list of texts" if is_list else _KIND_NAMES[key.kind]
    rule = RULES.get(dotted)
    try:
        value = _list_of(setting, get_args(key.kind)[0]) if is_list else _typed(setting, key.kind)
    except ValueError as error:
        if is_tables:
            raise InvalidConfig(origin=setting.origin, reason=f"{dotted} is not right: {error}") from None
        allowed = f", {rule.allowed}" if rule else ""
        raise InvalidConfig(origin=setting.origin, reason=f"{dotted} must be {wanted}{allowed}, not {shown}") from None
    if rule is not None and not rule.accepts(value):
        close = difflib.get_close_matches(str(value), rule.names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InvalidConfig(origin=setting.origin, reason=f"{dotted} must be {rule.allowed}, not {shown}{hint}")
    return value


def _list_of(setting: Setting, kind: type) -> tuple[Any, ...]:
    """Return the items of a TOML list, or of a text that separates them with commas."""
    value = setting.value
    if is_table(kind):
        return tables_of(value, kind)
    if isinstance(value, str):
        value = [item.strip() for item in value.split(",") if item.strip()]
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise ValueError
    return tuple(value)


def _typed(setting: Setting, kind: Any) -> Any:  # noqa: ANN401 - a value of type `kind`
    """Return the value as `kind`, from a TOML value or, where numbers and truth come as text, from text; raises ValueError."""
    value = setting.value
    if isinstance(value, str) and kind is bool:
        if value not in {"true", "false"}:
            raise ValueError
        return value == "true"
    if isinstance(value, str) and kind in (int, float):
        return kind(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise ValueError
