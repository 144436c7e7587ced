"""What a process does when its store or broker is not there, or not as it should be: it waits, or it ends in a line."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from kombu import Connection, Exchange, Queue

from tasks import topology
from tests.integration.proxy import proxied, proxy_to
from tests.integration.system import BIN, ROOT, System
from tests.servers import CI, rabbitmqctl

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgres]
CELERY, ONBOARDING = str(BIN / "celery"), str(BIN / "onboarding")
PROCESSES = {
    "worker": (CELERY, "-A", "tasks", "worker", "-c", "1"),
    "beat": (CELERY, "-A", "tasks", "beat"),
    "intake": (ONBOARDING, "intake"),
    "up": (ONBOARDING, "up"),
}
COMMANDS = {
    "db": (ONBOARDING, "db", "upgrade"),
    "send": (ONBOARDING, "send", "c-1"),
    "doctor": (ONBOARDING, "doctor"),
}


def ended(system: System, commands: dict[str, tuple[str, ...]]) -> dict[str, tuple[int, str]]:
    """Exit code and output of each, run side by side to their ends."""
    system.environment["PYTHONWARNINGS"] = "ignore"  # Celery's own, where the tests run as root
    running = {
        name: subprocess.Popen(
            command, env=system.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for name, command in commands.items()
    }
    try:
        outputs = {name: process.communicate(timeout=60)[0] for name, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return {name: (running[name].returncode, output) for name, output in outputs.items()}


def assert_refused(system: System, commands: dict[str, tuple[str, ...]], *words: str) -> None:
    for name, (code, output) in ended(system, commands).items():
        assert code == 1, f"{name}: {output}"
        assert all(word in output for word in words), f"{name}: {output}"
        assert "Traceback" not in output, name
        assert len([line for line in output.splitlines() if words[0] in line]) == 1, f"{name}: {output}"


@pytest.fixture
def stranger(vhost: str) -> Iterator[str]:
    """The broker's URL with a user who may enter the virtual host, and do nothing in it."""
    name = f"stranger-{secrets.token_hex(4)}"  # the broker is shared: another run's stranger is not ours
    if not rabbitmqctl("add_user", name, "a-password-of-no-use"):
        (pytest.fail if CI else pytest.skip)("needs rabbitmqctl")
    parts = urlsplit(vhost)
    rabbitmqctl("set_permissions", "-p", parts.path.removeprefix("/"), name, "", "", "")
    yield parts._replace(netloc=f"{name}:a-password-of-no-use@" + parts.netloc.rpartition("@")[2]).geturl()
    rabbitmqctl("delete_user", name)


@pytest.mark.slow
def test_a_virtual_host_that_does_not_exist_is_no_outage(system: System):
    """Whoever meets it says so in the broker's own words, says what to do, and fails; the others in the tests below."""
    system.environment["ONBOARDING_BROKER_URL"] = system.broker_url.rpartition("/")[0] + "/no-such-vhost"
    some = {name: (PROCESSES | COMMANDS)[name] for name in ("beat", "up", "send", "doctor")}
    assert_refused(system, some, "530 NOT_ALLOWED", "no-such-vhost", "add_vhost")


def test_a_user_without_rights_is_no_outage(system: System, stranger: str):
    """Nor is a refused login; the password is not shown."""
    system.environment["ONBOARDING_BROKER_URL"] = stranger
    some = {name: (PROCESSES | COMMANDS)[name] for name in ("worker", "intake")}
    assert_refused(system, some, "403 ACCESS_REFUSED", "set_permissions")
    system.environment["ONBOARDING_BROKER_URL"] = stranger.replace("no-use", "no-good")
    for code, output in ended(system, {"beat": PROCESSES["beat"]}).values():
        assert (code, "ACCESS_REFUSED" in output, "no-good" in output) == (1, True, False), output


def test_a_queue_of_other_arguments_is_no_outage(system: System, broker: str):
    """Left by another release, or by hand: which queue, and what to do about it."""
    other = Queue(topology.STEPS, Exchange(topology.STEPS, type="topic", durable=True), routing_key=topology.STEPS)
    with Connection(broker) as connection:
        other(connection.default_channel).declare()
    some = {name: (PROCESSES | COMMANDS)[name] for name in ("worker", "db")}
    assert_refused(system, some, "406 PRECONDITION_FAILED", topology.STEPS, "delete_queue")


def test_a_store_without_tables_is_told_once(system: System, tmp_path):
    """Not by a traceback per task."""
    system.environment["ONBOARDING_DATABASE_URL"] = f"sqlite:///{tmp_path}/empty.db"
    ((code, output),) = ended(system, {"worker": PROCESSES["worker"]}).values()
    assert (code, "onboarding db upgrade" in output, "Traceback" in output) == (1, True, False), output


def test_a_signal_stops_what_waits_for_a_broker(system: System, broker: str):
    """Taking connections and saying nothing, which is worse than away: exit 0 within seconds, all the same."""
    with proxy_to(broker) as proxy:
        proxy.hold()
        system.environment["ONBOARDING_BROKER_URL"] = proxied(broker, proxy)
        for name, command in PROCESSES.items():
            system.start(name, *command)
        for name in PROCESSES:
            system.until(lambda name=name: system.said(name, "broker_unavailable"), 40, f"{name} waits")
        assert system.stop(*PROCESSES, within_s=10) == [0] * len(PROCESSES)
        assert all(system.said(name, "broker_unavailable") == 1 for name in PROCESSES), system.logs()
        assert "Traceback" not in system.logs()


def test_a_signal_stops_a_process_whose_broker_fell_silent(system: System, broker: str):
    """Not even a goodbye is waited for longer than a few seconds."""
    with proxy_to(broker) as proxy:
        system.environment["ONBOARDING_BROKER_URL"] = proxied(broker, proxy)
        system.intake()
        system.until(lambda: system.said("intake", "intake_ready"), 30, "intake is ready")
        proxy.hold()
        assert system.stop("intake", within_s=5) == [0]
        assert "Traceback" not in system.logs()


def test_a_worker_waits_for_its_store(system: System, postgres_url: str):
    """It takes no task that it cannot do; and it stops while it waits."""
    with proxy_to(postgres_url, down=True) as proxy:
        system.environment["ONBOARDING_DATABASE_URL"] = proxied(postgres_url, proxy)
        system.start("worker", *PROCESSES["worker"])
        system.until(lambda: system.said("worker", "store_unavailable"), 30, "the worker waits")
        assert system.stop("worker", within_s=10) == [0]
        assert "Traceback" not in system.logs()


def test_a_second_worker_of_the_same_name_starts(system: System):
    """As one does whose host was lost while the broker still counts its connection."""
    for name in ("first", "second"):
        system.start(name, *PROCESSES["worker"], "-n", "same@%h")
        system.until(lambda name=name: " ready" in system.log(name), 40, f"the {name} is ready")
    assert system.stop("first", "second") == [0, 0]
    assert "Traceback" not in system.logs()
