from __future__ import annotations

import json
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from dejavud.config import Address, Config, Loaded, load, parse_address, parse_arguments
from dejavud.config.hidden import secrets_of
from dejavud.config.loading import config_of, settings_of_toml
from dejavud.config.printing import as_toml
from dejavud.config.reloading import RESTART, needs_restart, taken_over
from dejavud.config.rules import RULES
from dejavud.config.sections import keys
from dejavud.errors import InvalidConfig
from dejavud.fingerprint.profiles import PROFILES
from dejavud.matching.matcher import MatchRules

CONF = Path(__file__).parents[1] / "conf" / "dejavud.toml"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which nothing of this machine's is found."""
    return {"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}


def loaded(tmp_path: Path, environment: dict[str, str], *argv: str, conf: str | None = None) -> Loaded:
    """Return the configuration of a command line and a conf file."""
    if conf is not None:
        (tmp_path / "test.toml").write_text(conf, encoding="utf-8")
        argv = ("--config", str(tmp_path / "test.toml"), *argv)
    return load(parse_arguments(argv), environment, tmp_path)


def refusal(tmp_path: Path, environment: dict[str, str], *argv: str, conf: str | None = None) -> str:
    """Return why a configuration is refused."""
    with pytest.raises(InvalidConfig) as caught:
        loaded(tmp_path, environment, *argv, conf=conf)
    return caught.value.message


def test_the_shipped_conf_file_says_exactly_the_defaults() -> None:
    """Reading conf/dejavud.toml gives the configuration of a daemon without one, and it names every key."""
    settings = settings_of_toml(CONF.read_text(encoding="utf-8"), "conf")
    assert config_of(settings) == Config()
    assert list(settings) == list(keys())


def test_the_rules_of_matching_are_the_matchers_own() -> None:
    """What conf says of matching without being asked is what the matcher does without being told."""
    ours, theirs = Config().recognize, MatchRules()
    assert {name: getattr(ours, name) for name in MatchRules.__slots__} == {
        name: getattr(theirs, name) for name in MatchRules.__slots__
    }


def test_every_key_of_the_conf_file_is_explained() -> None:
    """Each key in conf/dejavud.toml stands below a comment, or below the key that it shares one with."""
    lines = CONF.read_text(encoding="utf-8").splitlines()
    for above, line in pairwise(lines):
        if line and line[0] not in "#[":
            assert above[:1] not in ("", "["), line


def test_the_conf_file_says_what_takes_a_restart() -> None:
    """A section or a key is marked (restart) in conf/dejavud.toml exactly where the table says that it takes one."""
    marked: dict[str, bool] = {}
    section, section_is_marked, comment, above = "", False, "", ""
    for line in CONF.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section, section_is_marked, comment = line[1 : line.index("]")], "(restart)" in line, ""
        elif line.startswith("#"):
            comment = f"{comment} {line}" if above.startswith("#") else line
        elif line:
            marked[f"{section}.{line.partition(' ')[0]}"] = section_is_marked or "(restart)" in comment
        above = line
    assert marked == {dotted: needs_restart(dotted) for dotted in keys()}


def test_the_table_of_restarts_names_what_there_is() -> None:
    """Nothing in it is a setting or a section that is gone."""
    sections = {key.section for key in keys().values()}
    assert set(RESTART) <= sections | set(keys())


def test_credentials_are_settings(tmp_path: Path, home: dict[str, str]) -> None:
    """Files in CREDENTIALS_DIRECTORY go before conf and .env, behind the environment; a database's password is put in its place; others are let be."""
    (tmp_path / "security.token").write_text("correct-horse\n")
    (tmp_path / "data.password").write_text("a/b@c\n")
    (tmp_path / "diary").write_text("of a webhook")
    environment = home | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    conf = "[security]\ntoken = 'battery-staple'\n[data]\nurl = 'postgresql://me@db/x'\n"
    result = loaded(tmp_path, environment, conf=conf)
    assert result.config.security.token == "correct-horse"  # noqa: S105 - the test's own
    assert result.config.data.url == "postgresql://me:a%2Fb%40c@db/x"
    assert result.origins["security.token"] == "credential security.token"
    assert result.origins["data.url"].endswith("line 4, and the credential data.password")
    assert "a%2Fb" not in as_toml(result)
    own = loaded(tmp_path, environment | {"DEJAVUD_SECURITY_TOKEN": "of-the-environment"}, conf=conf)
    assert own.config.security.token == "of-the-environment"  # noqa: S105


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("security.tokn", "x", "did you mean 'security.token'?"),
        ("security.token", "", "credential security.token: it is empty"),
        ("security.token", "short", "credential security.token: security.token must be"),
        ("data.password", "x", "data.url must name a user and no password"),
    ],
)
def test_a_wrong_credential_is_refused(tmp_path: Path, home: dict[str, str], name: str, text: str, reason: str) -> None:
    """One that is misspelt, empty or not allowed does not leave the daemon without what it was to guard it."""
    (tmp_path / name).write_text(text)
    assert reason in refusal(tmp_path, home | {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_token_may_not_go_while_the_addresses_that_it_guards_stay(tmp_path: Path, home: dict[str, str]) -> None:
    """A configuration that is right for a fresh start is refused by a daemon that would be open to others until then."""
    wide = loaded(tmp_path, home, conf="[http]\nlisten = ['0.0.0.0:4141']\n[security]\ntoken = 'correct-horse'\n")
    narrow = loaded(tmp_path, home, conf="[limits]\nuploads = 3\n")
    with pytest.raises(InvalidConfig, match=r"can be reached from other machines"):
        taken_over(wide.config, narrow.config, narrow.origins)
    other = loaded(tmp_path, home, conf="[security]\ntoken = 'battery-staple'\n[limits]\nuploads = 3\n")
    merged = taken_over(wide.config, other.config, other.origins)
    assert (merged.http, merged.limits.uploads) == (wide.config.http, 3)
    assert merged.security.token == "battery-staple"  # noqa: S105


def test_every_rule_belongs_to_a_key_and_accepts_its_default() -> None:
    """A rule for a key that is gone, or one that its own default breaks, does not exist."""
    for dotted, rule in RULES.items():
        assert rule.accepts(keys()[dotted].default), dotted


def test_each_source_goes_before_the_next(tmp_path: Path, home: dict[str, str]) -> None:
    """Flags beat the environment, which beats .env, which beats the conf file, which beats the defaults."""
    conf = "[log]\nlevel = 'error'\nformat = 'json'\n[limits]\nquery_s = 1\nupload_s = 2\nuploads = 3\n"
    (tmp_path / ".env").write_text("DEJAVUD_LIMITS_QUERY_S=10\nDEJAVUD_LIMITS_UPLOAD_S=20\nDEJAVUD_LOG_LEVEL=warning\n")
    environment = home | {"DEJAVUD_LIMITS_QUERY_S": "100", "DEJAVUD_LOG_LEVEL": "info"}
    result = loaded(tmp_path, environment, "--log-level", "debug", conf=conf)
    config = result.config
    assert (config.log.level, config.log.format) == ("debug", "json")
    assert (config.limits.query_s, config.limits.upload_s, config.limits.uploads) == (100.0, 20.0, 3)
    assert config.limits.ingest_s == Config().limits.ingest_s
    assert result.origins["log.level"] == "--log-level"
    assert result.origins["limits.query_s"] == "DEJAVUD_LIMITS_QUERY_S"
    assert result.origins["limits.upload_s"] == "DEJAVUD_LIMITS_UPLOAD_S in .env"
    assert result.origins["limits.uploads"].endswith("test.toml, line 7")
    assert "limits.ingest_s" not in result.origins


@pytest.mark.parametrize(("given", "value"), [("true", True), ("false", False)])
def test_truth_comes_as_text_too(tmp_path: Path, home: dict[str, str], given: str, *, value: bool) -> None:
    """The environment says true or false as the conf file does, and nothing else."""
    environment = home | {"DEJAVUD_INGEST_REPORT_DUPLICATES": given}
    assert loaded(tmp_path, environment).config.ingest.report_duplicates is value
    assert (
        loaded(tmp_path, home, conf=f"[ingest]\nreport_duplicates = {given}\n").config.ingest.report_duplicates is value
    )
    for wrong in ("yes", "1", "TRUE", ""):
        with pytest.raises(InvalidConfig, match="true or false"):
            loaded(tmp_path, home | {"DEJAVUD_INGEST_REPORT_DUPLICATES": wrong})


@pytest.mark.parametrize(
    ("environment", "argv", "url"),
    [
        ({"DATABASE_URL": "memory://"}, (), "memory://"),
        ({"DATABASE_URL": "memory://", "DEJAVUD_DATA_URL": "duckdb:///b"}, (), "duckdb:///b"),
        ({"DATABASE_URL": "memory://"}, ("--dburl", "duckdb:///c"), "duckdb:///c"),
        ({"DATABASE_URL": ""}, ("--data-dir", "/srv/d"), "duckdb:////srv/d/dejavud.duckdb"),
    ],
)
def test_the_database_is_named_in_the_old_ways(
    tmp_path: Path, home: dict[str, str], environment: dict[str, str], argv: tuple[str, ...], url: str
) -> None:
    """DATABASE_URL, --dburl and conf all name the database; without any it is a file in the data folder."""
    assert loaded(tmp_path, home | environment, *argv).config.data.url == url


def test_a_dotenv_file_gives_only_what_is_ours(tmp_path: Path, home: dict[str, str]) -> None:
    """Quotes, comments and `export` are understood; other programs' variables are not looked at."""
    (tmp_path / ".env").write_text(
        "# x\nHOME=/elsewhere\nexport DATABASE_URL='memory://'  # old\nFOO\nDEJAVUD_LOG_LEVEL = debug # y\n"
    )
    config = loaded(tmp_path, home).config
    assert config.data.url == "memory://"
    assert config.log.level == "debug"
    assert config.data.dir.startswith(home["HOME"])


def test_places_are_systemds_first_and_the_users_otherwise(tmp_path: Path, home: dict[str, str]) -> None:
    """STATE_DIRECTORY and RUNTIME_DIRECTORY go before the XDG folders."""
    system = home | {"STATE_DIRECTORY": "/var/lib/dejavud", "RUNTIME_DIRECTORY": "/run/dejavud"}
    config = loaded(tmp_path, system).config
    assert config.data.dir == "/var/lib/dejavud"
    assert config.control.endpoint == "ipc:///run/dejavud/control.sock"
    config = loaded(tmp_path, home).config
    assert config.data.dir == f"{home['HOME']}/.local/share/dejavud"
    assert config.events.endpoint == f"ipc://{home['XDG_RUNTIME_DIR']}/dejavud/events.sock"


def test_relative_folders_are_made_absolute(tmp_path: Path, home: dict[str, str]) -> None:
    """A relative --data-dir is below the working directory, and ~ is the user's home."""
    assert loaded(tmp_path, home, "--data-dir", "here").config.data.dir == str(tmp_path / "here")
    assert loaded(tmp_path, home, "--data-dir", "~/there").config.data.dir == f"{home['HOME']}/there"


def test_the_users_conf_file_is_found(tmp_path: Path, home: dict[str, str]) -> None:
    """$XDG_CONFIG_HOME/dejavud/dejavud.toml is read without being named."""
    folder = tmp_path / "xdg" / "dejavud"
    folder.mkdir(parents=True)
    (folder / "dejavud.toml").write_text("[limits]\nuploads = 7\n")
    assert loaded(tmp_path, home | {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}).config.limits.uploads == 7


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ("[http]\nlisen = []\n", "line 2: there is no setting 'http.lisen'; did you mean 'http.listen'?"),
        ("\n[htpp]\nlisten = []\n", "line 2: there is no section [htpp]; did you mean 'http'?"),
        ("http = 3\n", "line 1: 'http' is a section: write [http]"),
        ("colour = 3\n", "line 1: there is no section [colour]; there are: data, engine"),
        (
            "[limits]\nquery_s = 'soon'\n",
            "line 2: limits.query_s must be a number, from 1 to 86400 seconds, not 'soon'",
        ),
        ("[limits]\nuploads = 1.5\n", "line 2: limits.uploads must be a whole number, from 1 to 10000, not 1.5"),
        ("[limits]\nuploads = true\n", "line 2: limits.uploads must be a whole number"),
        ("[limits]\n\nuploads = 0\n", "line 3: limits.uploads must be from 1 to 10000, not 0"),
        ("[limits]\nquery_s = nan\n", "line 2: limits.query_s must be from 1 to 86400 seconds, not nan"),
        ("limits.uploads = 0\n", "line 1: limits.uploads must be from 1 to 10000, not 0"),
        ("[log]\nlevel = 'loud'\n", "line 2: log.level must be one of debug, info, warning, error, not 'loud'"),
        ("[http]\nlisten = [4141]\n", "line 2: http.listen must be a list of texts, addresses such as"),
        ("[http]\nlisten = ['4141']\n", "line 2: http.listen must be addresses such as"),
        ("[data]\ndir = 5\n", "line 2: data.dir must be a text, not 5"),
        ("[engine]\nbin_min = 480\n", "line 2: engine.bin_min = 480 is too large for engine.bin_max = 480"),
        ("[log\n", "this is not TOML:"),
    ],
)
def test_a_wrong_conf_file_is_refused_where_it_is_wrong(
    tmp_path: Path, home: dict[str, str], conf: str, expected: str
) -> None:
    """The message names the file, the line, and what is allowed or meant."""
    message = refusal(tmp_path, home, conf=conf)
    assert message.startswith(str(tmp_path / "test.toml"))
    assert expected in message


def test_a_wrong_variable_or_option_is_refused_by_its_name(tmp_path: Path, home: dict[str, str]) -> None:
    """The message names the variable or the option, and what was perhaps meant."""
    message = refusal(tmp_path, home | {"DEJAVUD_HTTP_LISEN": "x"})
    assert message == "DEJAVUD_HTTP_LISEN: there is no such setting; did you mean 'DEJAVUD_HTTP_LISTEN'?"
    assert refusal(tmp_path, home | {"DEJAVUD_LIMITS_UPLOADS": "many"}).startswith(
        "DEJAVUD_LIMITS_UPLOADS: limits.uploads"
    )
    assert refusal(tmp_path, home, "--http", "here").startswith("--http: http.listen must be addresses")


def test_what_the_client_reads_does_not_disturb_the_daemon(tmp_path: Path, home: dict[str, str]) -> None:
    """DEJAVUD_CONTROL and DEJAVUD_TOKEN, set for dejavuctl, are no mistakes."""
    config = loaded(tmp_path, home | {"DEJAVUD_CONTROL": "ipc:///x", "DEJAVUD_TOKEN": "y"}).config
    assert config.control.endpoint == f"ipc://{home['XDG_RUNTIME_DIR']}/dejavud/control.sock"


@pytest.mark.parametrize("conf", ["missing", "binary"])
def test_a_conf_file_that_cannot_be_read_is_an_error(tmp_path: Path, home: dict[str, str], conf: str) -> None:
    """A named conf file that is missing, or no text, is not passed over."""
    path = tmp_path / conf
    if conf == "binary":
        path.write_bytes(b"\xff\xfe[log]")
    assert refusal(tmp_path, home, "--config", str(path)).startswith(str(path))


@pytest.mark.parametrize(
    ("argv", "key"),
    [
        (("--http", "0.0.0.0:4141"), "http.listen"),
        (("--http", "127.0.0.1:1,[::]:2"), "http.listen"),
        (("--ws", "192.168.1.5:4242"), "websocket.listen"),
        (("--ws", "music.example:4242"), "websocket.listen"),
    ],
)
def test_a_wider_address_needs_a_token(tmp_path: Path, home: dict[str, str], argv: tuple[str, str], key: str) -> None:
    """Listening beyond this machine is refused, with the reason and the way out, until a token is set."""
    message = refusal(tmp_path, home, *argv)
    assert message.startswith(f"{argv[0]}: {key} = ")
    assert "security.token" in message
    config = loaded(tmp_path, home | {"DEJAVUD_SECURITY_TOKEN": "correct-horse"}, *argv).config
    assert config.security.token == "correct-horse"  # noqa: S105 - the test's own


@pytest.mark.parametrize("option", ["control", "events"])
@pytest.mark.parametrize("address", ["127.0.0.1:9000", "0.0.0.0:9000"])
def test_zeromq_is_not_spoken_plainly_over_tcp(tmp_path: Path, home: dict[str, str], option: str, address: str) -> None:
    """A tcp endpoint is refused, on loopback and with a token too, with what to write and what to run instead; by keys it listens anywhere."""
    with_token = home | {"DEJAVUD_SECURITY_TOKEN": "correct-horse"}
    message = refusal(tmp_path, with_token, f"--{option}", f"tcp://{address}")
    assert f'{option}.listen = ["{address}"]' in message
    assert "dejavuctl keys add" in message
    conf = f'[{option}]\nlisten = ["{address}"]\n'
    assert getattr(loaded(tmp_path, home, conf=conf).config, option).listen == (address,)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.9.9.9:1", "[::1]:4141", "localhost:4141"])
def test_loopback_needs_no_token(tmp_path: Path, home: dict[str, str], address: str) -> None:
    """Every spelling of this machine is accepted as it is."""
    assert loaded(tmp_path, home, "--http", address).config.http.listen == (address,)


def test_an_empty_address_list_switches_an_interface_off(tmp_path: Path, home: dict[str, str]) -> None:
    """--http '' and listen = [] both mean no HTTP."""
    assert loaded(tmp_path, home, "--http", "").config.http.listen == ()
    assert loaded(tmp_path, home, conf="[websocket]\nlisten = []\n").config.websocket.listen == ()


@pytest.mark.parametrize("text", ["", "4141", "a:b", "::1:4141", "1.2.3.4:70000", "http://x:1", "a b:1", "x:1/"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """An address is a host and a port, an IPv6 one in brackets."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address(text)


def test_an_ipv6_address_is_written_as_it_is_read() -> None:
    """Brackets come off when an address is read and back on when it is shown."""
    assert parse_address("[::1]:4141") == Address("::1", 4141)
    assert str(Address("::1", 4141)) == "[::1]:4141"


def test_printing_shows_all_and_keeps_secrets(tmp_path: Path, home: dict[str, str]) -> None:
    """--print-config gives valid TOML of every key, with origins, and without token or password."""
    environment = home | {"DEJAVUD_SECURITY_TOKEN": "correct-horse", "DATABASE_URL": "postgresql://me:hun@ter2@db/x"}
    text = as_toml(loaded(tmp_path, environment, "--http", "127.0.0.1:1"))
    document = tomllib.loads(text)
    assert {f"{s}.{k}" for s, values in document.items() for k in values} == set(keys())
    assert document["data"]["url"] == "postgresql://me:***@db/x"
    assert document["http"]["listen"] == ["127.0.0.1:1"]
    assert "correct" not in text
    assert "ter2" not in text
    assert 'token = "***"  # DEJAVUD_SECURITY_TOKEN' in text


def test_a_refused_secret_is_not_repeated(tmp_path: Path, home: dict[str, str]) -> None:
    """The error about a token that is too short does not show it."""
    assert "hunter2" not in refusal(tmp_path, home | {"DEJAVUD_SECURITY_TOKEN": "hunter2"})


SECRET_SOURCES = ("radio=http://me:hunter2@h/x", "door=rtsp://cam/1?user=hunter2&password=hunter2", "tape=/tmp/a@b")


def test_what_lets_somebody_in_at_a_source_is_not_shown(tmp_path: Path, home: dict[str, str]) -> None:
    """Neither where the configuration is printed nor where one source is wrong; the log is told to write it nowhere."""
    conf = f"[listen]\nsources = {json.dumps(SECRET_SOURCES)}"
    good = loaded(tmp_path, home, conf=conf)
    assert "hunter2" not in as_toml(good)
    assert "tape=/tmp/a@b" in as_toml(good)
    assert "hunter2" in secrets_of(good.config)
    for wrong in ("what", "b=http://me:hunter2@h:x/", "p=pcm:s16:1:1", "b=http://me:hunter2/3@h/"):
        for said in (
            refusal(tmp_path, home, conf=f"[listen]\nsources = {json.dumps([*SECRET_SOURCES, wrong])}"),
            refusal(tmp_path, home | {"DEJAVUD_LISTEN_SOURCES": ",".join((*SECRET_SOURCES, wrong))}),
        ):
            assert "listen.sources must be" in said
            assert "hunter2" not in said


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_can_be_named(tmp_path: Path, home: dict[str, str], profile: str) -> None:
    """The shipped conf file with another profile in it is a configuration, and its comments tell of every name."""
    shipped = CONF.read_text(encoding="utf-8")
    assert f'"{profile}"' in shipped.replace("classic/NAME", "") or f'"{profile.removeprefix("classic/")}"' in shipped
    conf = shipped.replace('profile = "landmark-2"', f'profile = "{profile}"')
    assert loaded(tmp_path, home, conf=conf).config.engine.profile == profile


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("classic/dejavu-2021", "classic/dejavu-2020"),
        ("landmark2", "landmark-2"),
        ("ivlovric-1.5", "classic/ivlovric-1.5"),
    ],
)
def test_a_profile_that_is_not_there_is_told_which_was_meant(
    tmp_path: Path, home: dict[str, str], given: str, meant: str
) -> None:
    """The message names what there is and the nearest of it."""
    message = refusal(tmp_path, home | {"DEJAVUD_ENGINE_PROFILE": given})
    assert f"did you mean '{meant}'?" in message
    assert all(profile in message for profile in PROFILES)


def test_a_classic_profile_takes_no_parameters_of_ours(tmp_path: Path, home: dict[str, str]) -> None:
    """What would be without effect is refused, at its place, whether it belongs to the track or to the query."""
    for name, value in (("rate_hz", 16000), ("query_shifts", 2)):
        conf = f'[engine]\nprofile = "classic/dejavu-2020"\n{name} = {value}\n'
        message = refusal(tmp_path, home, conf=conf)
        assert "line 3" in message
        assert f"engine.{name} = {value} belongs to the profile landmark-2" in message
        assert loaded(tmp_path, home, conf=conf.replace("classic/dejavu-2020", "landmark-2"))
