import base64
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding import settings
from onboarding.settings import Settings, SettingsError, load

KEY = base64.b64encode(b"k" * 32).decode()
SIGNING = "whsec_" + base64.b64encode(b"s" * 24).decode()
CANARY = "canary-8f3b2c"

GOOD = {
    "DATABASE_URL": f"postgresql://onboarding:{CANARY}@db:5432/onboarding",
    "BROKER_URL": f"amqp://onboarding:{CANARY}@rabbit:5672/onboarding",
    "DEEL_URL": "http://127.0.0.1:8080/rest/v2/",
    "DEEL_TOKEN": CANARY,
    "DEEL_RATE": "2.5",
    "DEEL_SESSION_FIELD": "profile_id",
    "VAULT_KEYS": f"new:{KEY}",
    "NOTIFY_URLS": f"https://a.example.com/{CANARY}, https://b.example.com/{CANARY}",
    "NOTIFY_SECRET": SIGNING,
    "NOTIFY_ALLOW_PRIVATE": "on",
    "WEBHOOK_SECRETS": f"Deel production={CANARY}==, staging={CANARY}",
    "GATEWAY_SOURCES": f"acme = {{profile = 'hmac', header = 'X-Sig', keys = {{old = '{CANARY}', new = '{CANARY}2'}}}}",
    "CONSENT": "required",
    "SENTRY_DSN": f"https://{CANARY}@sentry.example.com/1",
    "LOG_FORMAT": "json",
    "LEASE_SECONDS": "0.5",
    "CRASH_LIMIT": "5",
    "RETENTION_DAYS": "30",
}
BAD = {
    "DATABASE_URL": [f"mysql://{CANARY}", "sqlite://", "sqlite:///:memory:", "postgresql://[" + CANARY],
    "BROKER_URL": [f"redis://{CANARY}", f"amqp://u:{CANARY}@h:99999/", "amqp://a;http://b", "memory"],
    "DEEL_URL": [f"https://u:{CANARY}@h/", f"ftp://{CANARY}", f"https://h/?a={CANARY}", f"http://{CANARY}/rest/v2"],
    "DEEL_TOKEN": [f"Bearer {CANARY}", f"{CANARY}\u20ac"],
    "DEEL_RATE": ["0", "-1", CANARY, "inf", "nan"],
    "DEEL_SESSION_FIELD": [CANARY],
    "VAULT_KEYS": [CANARY, KEY[:-4], f"a:{KEY},a:{KEY}", ",", f"od d:{KEY}"],
    "NOTIFY_ALLOW_PRIVATE": [CANARY],
    "NOTIFY_URLS": [
        f"https://fine.example.com,mailto:{CANARY}",
        f"https://u:{CANARY}@fine.example.com/",
    ],
    "NOTIFY_SECRET": [CANARY, SIGNING.removeprefix("whsec_"), "whsec_c2hvcnQ=", f"whsec_{CANARY}!"],
    "WEBHOOK_SECRETS": [CANARY, f"={CANARY}", "label=", f"a={CANARY},a={CANARY}"],
    "GATEWAY_SOURCES": [
        CANARY,
        f"'{CANARY}' = 1",
        f"acme = '{CANARY}'",
        f"acme = {{profile = 'hmac', keys = {{a = '{CANARY}'}}}}",
        f"acme = {{profile = 'hmac', header = 'x:{CANARY}', keys = {{a = '{CANARY}'}}}}",
        f"acme = {{profile = 'standard', keys = {{a = '{CANARY}!'}}}}",
        f"acme = {{profile = '{CANARY}', keys = {{a = '{CANARY}'}}}}",
        f"acme = {{profile = 'finch', keys = {{a = 'whsec_c2hvcnQ='}}, types = ['{CANARY}']}}",
        f"acme = {{profile = 'merge', keys = {{a = '{CANARY}'}}, contract_id = 'data.x'}}",
        f"deel = {{profile = 'standard', keys = {{a = '{CANARY}'}}}}",
        "acme = {profile = 'hmac', header = 'x', keys = {}}",
        "acme = {profile = 'hmac', header = 'x', keys = {a = ''}}",
        "acme = {profile = 'merge', header = 'x', keys = {a = 'a'}}",
    ],
    "CONSENT": [CANARY],
    "SENTRY_DSN": [CANARY, "https://sentry.example.com/1"],
    "LOG_FORMAT": [CANARY],
    "LEASE_SECONDS": ["0", CANARY],
    "CRASH_LIMIT": ["0", "2.5", CANARY],
    "RETENTION_DAYS": ["0", "1.5", "36501", CANARY],
}


def environ(**values: str) -> dict[str, str]:
    return {f"ONBOARDING_{name}": value for name, value in values.items()}


def faults_of(variables: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(variables)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value).splitlines()


def test_nothing_need_be_set(monkeypatch, tmp_path):
    """A laptop needs no variable: SQLite under the working directory, everything in one process."""
    monkeypatch.chdir(tmp_path)

    found = load({})

    assert found.sqlite_path == tmp_path / ".onboarding" / "onboarding.db"
    assert found.database_url.get_secret_value() == f"sqlite:///{tmp_path}/.onboarding/onboarding.db"
    assert (found.embedded, found.production) == (True, False)
    assert (found.deel_rate, found.lease_seconds, found.crash_limit, found.retention_days) == (5, 60, 3, 400)
    assert found.deel_url == "https://api.letsdeel.com/rest/v2"
    assert (found.deel_session_field, found.consent, found.log_format) == ("hris_profile_id", "off", "console")
    assert not list(tmp_path.iterdir())


def test_every_variable_arrives():
    """Each variable ends in its field, as the type that the code works with."""
    found = load(environ(**GOOD))

    assert set(GOOD) == {name.upper() for name in Settings.model_fields}
    assert found.database_url.get_secret_value().startswith("postgresql+psycopg://onboarding:")
    assert found.deel_url == "http://127.0.0.1:8080/rest/v2"
    assert (found.embedded, found.production, found.sqlite_path) == (False, True, None)
    assert (found.deel_rate, found.lease_seconds, found.crash_limit, found.retention_days) == (2.5, 0.5, 5, 30)
    assert len(found.notify_urls) == 2
    assert found.notify_allow_private is True
    keys = {label: key.get_secret_value() for label, key in found.webhook_secrets.items()}
    assert keys == {"Deel production": f"{CANARY}==", "staging": CANARY}


@pytest.mark.parametrize("name", GOOD)
def test_every_variable_arrives_from_a_file_too(name, tmp_path):
    """NAME_FILE names a file with the same value; the newline at its end is no part of it."""
    file = tmp_path / "secret"
    file.write_text(GOOD[name] + "\n")
    rest = environ(**{key: value for key, value in GOOD.items() if key != name})

    found = load(rest | environ(**{f"{name}_FILE": str(file)}))

    assert found == load(environ(**GOOD))


def test_a_target_without_tls_is_refused_unless_private_ones_are_allowed():
    """Each send would be, and each run parked for it."""
    targets = {"NOTIFY_URLS": f"http://fine.example.com/{CANARY}", "NOTIFY_SECRET": SIGNING}
    (line,) = faults_of(environ(**targets))
    assert line.startswith("ONBOARDING_NOTIFY_URLS: ")
    assert CANARY not in line
    assert load(environ(**targets, NOTIFY_ALLOW_PRIVATE="on")).notify_urls


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_fault_is_one_line_without_the_value(name, value):
    """The line names the variable, its rule and an example; what was set is not repeated."""
    (line,) = faults_of(environ(**{**GOOD, name: value}))

    assert line.startswith(f"ONBOARDING_{name}: ")
    assert f'for example ONBOARDING_{name}="' in line
    assert CANARY not in line


def test_all_faults_are_told_at_once():
    """Whoever mends a deployment mends it once."""
    lines = faults_of(environ(**{name: values[0] for name, values in BAD.items()}))

    assert [line.partition(":")[0] for line in lines] == [f"ONBOARDING_{name}" for name in BAD]


def test_both_a_value_and_a_file_is_a_fault(tmp_path):
    """Nobody need guess which one wins."""
    (line,) = faults_of(environ(DEEL_TOKEN=CANARY, DEEL_TOKEN_FILE=str(tmp_path)))

    assert line == "ONBOARDING_DEEL_TOKEN and ONBOARDING_DEEL_TOKEN_FILE are both set: keep one of them"


def test_an_unreadable_file_is_a_fault_of_one_line(tmp_path):
    """Missing, a folder, or not text: the variable and the cause, not the path."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / CANARY, tmp_path, binary):
        (line,) = faults_of(environ(DEEL_TOKEN_FILE=str(path)))

        assert line.startswith("ONBOARDING_DEEL_TOKEN_FILE: names a file that cannot be read (")
        assert str(path) not in line


def test_an_empty_variable_is_not_set():
    """Compose files pass on what nobody filled in as an empty string."""
    assert load(environ(**dict.fromkeys(GOOD, " "))) == load({})


def test_targets_need_a_signing_secret():
    """No notification leaves unsigned."""
    (line,) = faults_of(environ(NOTIFY_URLS="https://example.com/hook"))

    assert line.startswith("ONBOARDING_NOTIFY_SECRET: ")


def test_the_token_is_missed_only_by_who_needs_it():
    """A process that does not talk to Deel starts without a token; one that does says what to set."""
    with pytest.raises(SettingsError, match=r"^ONBOARDING_DEEL_TOKEN: "):
        load({}).require_deel_token()

    load({}).require_deel_token(own_tokens=True)
    load(environ(DEEL_TOKEN=CANARY)).require_deel_token()


def test_settings_print_no_secret():
    """Neither str nor repr, nor the dump that a debugger makes of it."""
    found = load(environ(**GOOD))

    for text in (str(found), repr(found), found.model_dump_json(), repr(found.model_dump())):
        assert CANARY not in text
        assert KEY not in text
        assert SIGNING not in text


def test_settings_do_not_change():
    """What a process was told at its start holds until its end."""
    with pytest.raises(ValueError, match="frozen"):
        load({}).deel_rate = 7


def test_secrets_are_all_told_to_the_mask():
    """Tokens, keys, targets and strong passwords are on the list; a password that is a plain word is not."""
    variables = environ(**GOOD) | environ(BROKER_URL="amqp://onboarding:guest@rabbit/", VAULT_KEYS=f"a:{KEY},{KEY}")

    found = {secret.get_secret_value() for secret in load(variables).secrets()}

    assert {CANARY, KEY, SIGNING, f"{CANARY}==", f"https://a.example.com/{CANARY}"} <= found
    assert not {"guest", "onboarding", ""} & found


def test_a_typo_is_named_with_what_was_meant():
    """An ONBOARDING_ variable that nobody reads is told; those of the fail points and the files are known."""
    variables = environ(DEEL_TOKN="x", QQQ="x", DEEL_TOKEN_FILE="x", FAILPOINTS="x", FAILPOINTS_DIR="x")

    assert settings.unknown({**variables, "PATH": "x"}) == [
        "ONBOARDING_DEEL_TOKN: no such setting; do you mean ONBOARDING_DEEL_TOKEN?",
        "ONBOARDING_QQQ: no such setting",
    ]


def test_production_names_the_key_that_it_lacks():
    """With PostgreSQL no key file is made; the error holds the command that makes a key."""
    production = load(environ(DATABASE_URL="postgresql://db/onboarding"))

    with pytest.raises(SettingsError, match=r"ONBOARDING_VAULT_KEYS.*openssl rand -base64 32"):
        production.keyring()
    assert load(environ(**GOOD)).keyring().first == "new"


def test_a_laptop_keeps_its_key_in_a_file(tmp_path):
    """The key file lies beside the SQLite file, readable by its owner alone, and is read again."""
    laptop = load(environ(DATABASE_URL=f"sqlite:///{tmp_path}/deep/o.db?timeout=5"))

    first = laptop.keyring().first

    file = tmp_path / "deep" / "vault.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert laptop.keyring().first == first
    assert [path.name for path in file.parent.iterdir()] == ["vault.key"]


def test_a_spoilt_key_file_is_told_and_kept(tmp_path):
    """A key file that holds no key is not overwritten: tokens may hang on it."""
    (tmp_path / "vault.key").write_text(CANARY)

    with pytest.raises(SettingsError, match="it holds no key") as caught:
        load(environ(DATABASE_URL=f"sqlite:///{tmp_path}/o.db")).keyring()

    assert CANARY not in str(caught.value)
    assert (tmp_path / "vault.key").read_text() == CANARY


def test_processes_that_start_together_end_with_one_key(tmp_path):
    """Whoever makes the key file first wins, and nobody reads half of it."""
    code = (
        "import sys\n"
        "from onboarding.settings import load\n"
        "found = load({'ONBOARDING_DATABASE_URL': 'sqlite:///' + sys.argv[1] + '/o.db'})\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"  # returns when the test lets go
        "print(found.keyring().first)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    held, start = os.pipe()
    children = [
        subprocess.Popen(command, stdin=held, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(Path.cwd())})
        for _ in range(4)
    ]
    assert [child.stdout and child.stdout.readline() for child in children] == ["ready\n"] * 4
    os.close(start)

    ids = {child.communicate(timeout=30)[0] for child in children}

    os.close(held)
    assert len(ids) == 1
    assert len(ids.pop()) == len("01234567\n")


def test_threads_that_start_together_end_with_one_key(tmp_path):
    """The same within one process, often."""
    for round_ in range(20):
        laptop = load(environ(DATABASE_URL=f"sqlite:///{tmp_path}/{round_}/o.db"))
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(lambda _, laptop=laptop: laptop.keyring().first, range(8)))) == 1


@given(st.dictionaries(st.sampled_from([f"ONBOARDING_{name}" for name in GOOD]), st.text()))
def test_no_value_ends_in_anything_but_settings_or_a_settings_error(variables):
    """Whatever is set, the process starts or says why not in lines that start with a variable's name."""
    try:
        found = load(variables)
    except SettingsError as error:
        lines = str(error).splitlines()
    else:
        lines = []
        found.secrets()
    assert all(line.startswith("ONBOARDING_") for line in lines)
