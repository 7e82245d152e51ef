"""All hooks together: contained, explained, imported only where they are wanted; and what conf says of them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hook_parts import in_thread, listener, play, ready, running, until

from dejavud.config import load, parse_arguments
from dejavud.config.printing import as_toml
from dejavud.errors import HookNotFound, InvalidConfig
from dejavud.hooks import supervisor
from dejavud.hooks.base import Figures
from dejavud.hooks.settings import HookSettings, Webhook, shown_url
from dejavud.hooks.supervisor import make_hooks
from dejavud.hooks.text_file import NowPlayingFile
from dejavud.services.events import EventHub

if TYPE_CHECKING:
    from pathlib import Path

    from dejavud.config import Loaded
    from dejavud.services.events import Event

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"


class Broken:
    """A hook with a bug in it."""

    name = kind = "broken"
    target = "nowhere"
    n_waiting = 0

    def __init__(self) -> None:
        self.figures = Figures()
        self.n_runs = 0

    async def run(self) -> None:
        """Fail as no hook should."""
        self.n_runs += 1
        raise ZeroDivisionError

    async def test(self, sample: Event) -> str:
        """Say nothing."""
        return sample.topic


async def test_a_hook_with_a_bug_takes_nothing_else_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is run again and again, shown as failing, and the others go on."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    hub, broken = EventHub(), Broken()
    path = tmp_path / "now"
    good = NowPlayingFile(hub, lambda: [listener()], HookSettings(now_playing_file=str(path)), in_thread)
    async with running(hub, broken, good) as hooks:
        await ready(good)
        await until(lambda: broken.n_runs >= 3)
        hub.publish("match.started", play())
        await until(path.read_text)
        views = hooks.view()
    assert views[0]["state"] == "retrying"
    assert views[0]["last_error"] == "ZeroDivisionError in the daemon; its log has more"
    assert views[0]["next_try_at"] is not None
    assert (views[1]["state"], views[1]["last_error"]) == ("ready", None)


async def test_a_hook_that_is_not_there_cannot_be_tried() -> None:
    """The message names those that are, or where they are switched on."""
    hub = EventHub()
    async with running(hub, Broken()) as hooks:
        with pytest.raises(HookNotFound, match="there is no hook 'mqtt'; there are: broken"):
            await hooks.test(supervisor.TestHooks("mqtt"), None)  # type: ignore[arg-type] # the call is not looked at
    with pytest.raises(HookNotFound, match="no hook is switched on; there are: none: see"):
        await make_hooks(HookSettings(), hub, list, in_thread).test(supervisor.TestHooks(), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "module", "extra"),
    [
        ("webhooks=(Webhook('http://x/'),)", "httpx", "webhooks"),
        ("mqtt_url='mqtt://x'", "paho", "mqtt"),
        ("mpris=True", "jeepney", "mpris"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(settings: str, module: str, extra: str) -> None:
    """A hook that is switched on and cannot be had keeps the daemon from starting, and the message says what to install."""
    code = f"""
import sys
sys.modules[{module!r}] = None
from dejavud.errors import InvalidConfig
from dejavud.hooks.settings import HookSettings, Webhook
from dejavud.hooks.supervisor import make_hooks
from dejavud.services.events import EventHub
try:
    make_hooks(HookSettings({settings}), EventHub(), list, None)
except InvalidConfig as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"pip install 'dejavud[{extra}]'" in done.stdout, done.stderr
    assert module in done.stdout


def test_nothing_is_imported_for_hooks_that_are_off() -> None:
    """What the daemon imports of hooks brings in no library of one; import contracts keep the rest of it from them."""
    code = "import sys, dejavud.hooks.supervisor, dejavud.config; print(sorted({'httpx', 'paho', 'jeepney', 'ssl'} & {m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"httpx", "paho", "jeepney"} & set(eval(done.stdout))  # noqa: S307 - our own list


# -- conf -----------------------------------------------------------------------------------------------------------


def loaded(tmp_path: Path, conf: str = "", **environment: str) -> Loaded:
    """Return the configuration of a conf file."""
    path = tmp_path / "test.toml"
    path.write_text(conf, encoding="utf-8")
    return load(parse_arguments(["--config", str(path)]), {"HOME": str(tmp_path)} | environment, tmp_path)


def test_webhooks_are_tables_with_keys_of_their_own(tmp_path: Path) -> None:
    """Each has an address, and name, topics and secret where they are given; the name is otherwise the host."""
    conf = f"""[hooks]
webhooks = [
  {{ url = "https://a.example/in", topics = ["match.ended", "track.*"], secret = "{SECRET}", name = "diary" }},
  {{ url = "http://b.example:8080" }},
]
"""
    first, second = loaded(tmp_path, conf).config.hooks.webhooks
    assert (first.called, first.prefixes, first.secret) == ("diary", ("match.ended", "track."), SECRET)
    assert (second.called, second.prefixes, second.secret) == ("b.example", ("match.",), "")


def test_webhooks_come_from_the_environment_as_json(tmp_path: Path) -> None:
    """The variable replaces what the conf file says."""
    given = '[{"url": "https://c.example/", "topics": [""]}]'
    hooks = loaded(tmp_path, '[hooks]\nwebhooks = [{url = "http://a"}]\n', DEJAVUD_HOOKS_WEBHOOKS=given).config.hooks
    assert hooks.webhooks == (Webhook("https://c.example/", topics=("",)),)
    assert loaded(tmp_path, DEJAVUD_HOOKS_WEBHOOKS="").config.hooks.webhooks == ()


def test_secrets_lie_where_conf_says(tmp_path: Path) -> None:
    """In a file, in the environment, among systemd's credentials, or in conf itself."""
    (tmp_path / "key").write_text(f"{SECRET}\n")
    for reference, environment in {
        "file:~/key": {},
        "file:key": {},
        "env:MY_KEY": {"MY_KEY": SECRET},
        "credential:key": {"CREDENTIALS_DIRECTORY": str(tmp_path)},
        SECRET: {},
    }.items():
        conf = f'[hooks]\nwebhooks = [{{ url = "http://a", secret = "{reference}" }}]\nmqtt_password = "{reference}"\n'
        hooks = loaded(tmp_path, conf, **environment).config.hooks
        assert hooks.webhooks[0].secret == SECRET
        assert hooks.mqtt_password == SECRET


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ("webhooks = [{ uri = 'http://a' }]", "there is no key 'uri' in it; did you mean 'url'?"),
        ("webhooks = [{ name = 'a' }]", "its url is missing"),
        ("webhooks = [{ url = 'http://a', topics = 'match.' }]", "its topics must be a list of texts"),
        ("webhooks = ['http://a']", "it is a list of tables"),
        ("webhooks = 'http://a'", 'as text it is JSON, such as [{"url":'),
        ("webhooks = [{ url = 'ftp://a' }]", "hooks.webhooks must be such as"),
        ("webhooks = [{ url = 'http://a b/' }]", "hooks.webhooks must be such as"),
        ("webhooks = [{ url = 'http://a', topics = ['meter.'] }]", "hooks.webhooks must be such as"),
        ("webhooks = [{ url = 'http://a' }, { url = 'http://a/2' }]", "each with a name of its own"),
        ("webhooks = [{ url = 'http://a', topics = [] }]", "topics that say how"),
        ("webhooks = [{ url = 'http://a', secret = 'hunter2' }]", "the secret of a is not whsec_ and the base64"),
        ("webhooks = [{ url = 'http://a', secret = 'env:NOT_THERE' }]", "the environment variable NOT_THERE holds"),
        ("webhooks = [{ url = 'http://a', secret = 'file:not-there' }]", "not-there cannot be read: No such file"),
        ("webhooks = [{ url = 'http://a', secret = 'credential:x' }]", "LoadCredential="),
        ("mqtt_url = 'broker:1883'", "hooks.mqtt_url must be such as"),
        ("mqtt_url = 'mqtt://me:hunter2@broker'", "with user and password in keys of their own"),
        ("mqtt_prefix = 'a/+/b'", "hooks.mqtt_prefix must be words"),
        ("now_playing_format = '{artist.__class__}'", "hooks.now_playing_format must be"),
        ("now_playing_format = '{artist'", "hooks.now_playing_format must be"),
    ],
)
def test_what_makes_no_sense_is_refused_without_showing_secrets(tmp_path: Path, conf: str, said: str) -> None:
    """The message says where and what, and no password."""
    with pytest.raises(InvalidConfig) as caught:
        loaded(tmp_path, f"[hooks]\n{conf}\n")
    assert said in caught.value.message
    assert "test.toml, line 2" in caught.value.message
    assert "hunter2" not in caught.value.message


def test_printing_shows_hooks_without_their_secrets(tmp_path: Path) -> None:
    """--print-config is TOML that tells which hooks there are; keys in addresses and secrets are masked."""
    conf = f"""[hooks]
webhooks = [{{ url = "https://me:T0KEN@a.example/T0KEN?k=T0KEN", secret = "{SECRET}" }}]
mqtt_password = "T0KEN"
"""
    printed = as_toml(loaded(tmp_path, conf))
    hooks: dict[str, Any] = tomllib.loads(printed)["hooks"]
    assert hooks["webhooks"] == [
        {"url": "https://a.example/…", "name": "a.example", "topics": ["match."], "secret": "***"}
    ]
    assert hooks["mqtt_password"] == "***"  # noqa: S105 - the mask
    assert "T0KEN" not in printed
    assert SECRET not in printed


def test_the_session_bus_and_files_are_found(tmp_path: Path) -> None:
    """The bus is what the environment says, else the user's; files may be below the home or the working directory."""
    conf = '[hooks]\nnow_playing_file = "~/now.txt"\nmqtt_ca_file = "ca.pem"\n'
    hooks = loaded(tmp_path, conf, XDG_RUNTIME_DIR="/run/user/7").config.hooks
    assert hooks.mpris_bus == "unix:path=/run/user/7/bus"
    assert (hooks.now_playing_file, hooks.mqtt_ca_file) == (f"{tmp_path}/now.txt", f"{tmp_path}/ca.pem")
    assert loaded(tmp_path, DBUS_SESSION_BUS_ADDRESS="unix:abstract=x").config.hooks.mpris_bus == "unix:abstract=x"
    assert loaded(tmp_path).config.hooks.mpris_bus == ""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@a.example:8443/hook/KEY?x=KEY#f", "https://a.example:8443/…"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("mqtts://broker", "mqtts://broker"),
    ],
)
def test_an_address_is_shown_without_what_may_be_a_key(url: str, shown: str) -> None:
    """Host and port tell a person which one it is."""
    assert shown_url(url) == shown
