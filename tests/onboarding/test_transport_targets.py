"""Targets of notifications, reached where they were checked and under their own name."""

from __future__ import annotations

import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from onboarding.transport import CheckedTarget, Http, NoReply, Reply, TargetRefused, check_target, post_to_target
from tests.onboarding.raw_server import RawServer, http

SECRET = "s3cr3t-value"  # stands in a query, a path or a password, and must never show
TARGET = "hooks.example.test"


class Certificates:
    """An authority of our own and a certificate for one name, as files."""

    def __init__(self, folder, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def server_side(self, named: list[str | None]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        context.sni_callback = lambda _socket, name, _context: named.append(name)
        return context


@pytest.fixture
def certificates(tmp_path):
    return Certificates(tmp_path, TARGET)


def post(client: Http, url: str, *, allow_private: bool = True) -> Reply:
    return post_to_target(client, url, headers={"x-id": "1"}, content=b"{}", allow_private=allow_private)


def test_a_target_is_reached_at_the_checked_address_under_its_own_name(certificates, names, monkeypatch):
    """Resolved once; TLS is verified against the name, and Host and SNI carry it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.path))
    names[TARGET] = ["127.0.0.1"]
    named: list[str | None] = []
    client = Http(total_s=3)
    with RawServer(lambda _: http(204), tls=certificates.server_side(named)) as server:
        reply = post(client, f"https://{TARGET}:{server.port}/hook?key={SECRET}")
    client.close()

    assert reply.status == 204
    assert named == [TARGET]
    assert names["asked"] == [TARGET]
    (asked,) = server.asked
    assert asked.headers["host"] == f"{TARGET}:{server.port}"
    assert (asked.target, asked.body, asked.headers["x-id"]) == (f"/hook?key={SECRET}", b"{}", "1")


def test_a_certificate_for_another_name_is_no_reply(certificates, names, monkeypatch):
    """That we connect to an address does not loosen the check of the name."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.path))
    names["other.example.test"] = ["127.0.0.1"]
    client = Http(total_s=3)
    with RawServer(lambda _: http(200), tls=certificates.server_side([])) as server:
        with pytest.raises(NoReply) as caught:
            post(client, f"https://other.example.test:{server.port}/")
        client.close()

    assert caught.value.kind == "connect"
    assert "Hostname mismatch" in str(caught.value)
    assert server.asked == []


def test_a_certificate_of_nobody_we_trust_is_no_reply(certificates, names, client):
    """TLS is verified, always."""
    names[TARGET] = ["127.0.0.1"]
    tls = certificates.server_side([])
    with RawServer(lambda _: http(200), tls=tls) as server, pytest.raises(NoReply) as caught:
        post(client, f"https://{TARGET}:{server.port}/")

    assert caught.value.kind == "connect"
    assert "certificate" in str(caught.value)
    assert server.asked == []


def test_a_name_that_changes_its_address_after_the_check_gains_nothing(names, client):
    """The address that was checked is the one that is used: the name is not asked again."""
    with RawServer(lambda _: http(200)) as server:
        names["fickle.example.test"] = ["127.0.0.1"]
        target = check_target(f"http://fickle.example.test:{server.port}/", allow_private=True)
        names["fickle.example.test"] = ["127.0.0.66"]
        assert client.post_once(target, headers={}, content=b"").status == 200

    assert names["asked"] == ["fickle.example.test"]


def test_a_pooled_connection_is_no_way_around_the_check(names, client):
    """A connection that was opened without a check is not used for a target of the same name."""
    with RawServer(lambda _: http(200, connection="keep-alive"), keep_alive=True) as server:
        names["both.example.test"] = ["127.0.0.1"]
        url = f"http://both.example.test:{server.port}/"
        client.send("GET", url, headers={})
        post(client, url)
        post(client, url)
        client.close()

    assert [asked.connection for asked in server.asked] == [1, 2, 3]


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        (f"https://hooks.example/?key={SECRET}", ["10.0.0.8"]),
        (f"https://hooks.example/{SECRET}", ["93.184.216.34", "127.0.0.1"]),
        (f"https://user:{SECRET}@hooks.example/", ["93.184.216.34"]),
        (f"http://hooks.example/{SECRET}", ["93.184.216.34"]),
        (f"https://127.0.0.1/{SECRET}", []),
        (f"https://2130706433/{SECRET}", ["127.0.0.1"]),
        (f"https://[::ffff:127.0.0.1]/{SECRET}", []),
        (f"gopher://hooks.example/{SECRET}", []),
        (f"https:///{SECRET}", []),
        (f"https://[{SECRET}", []),
        (f"https://hooks.example:99999/{SECRET}", []),
        (f"https://hooks.example/{SECRET}" + "x" * 70_000, []),
        ("", []),
    ],
)
def test_a_target_that_may_not_be_is_refused_without_its_secret(names, url, addresses):
    """One bad address among several is enough; the text names a rule, neither path nor query nor password."""
    names["hooks.example"] = names["2130706433"] = addresses
    with pytest.raises(TargetRefused) as caught:
        check_target(url, allow_private=False)

    assert SECRET not in f"{caught.value!r} {caught.value.__context__!r}"


def test_a_target_that_is_public_is_checked_and_shows_no_path(names):
    """What is kept shows host and addresses only."""
    names["hooks.example"] = ["93.184.216.34"]
    target = check_target(f"https://hooks.example/{SECRET}", allow_private=False)

    assert repr(target) == "CheckedTarget(host='hooks.example', addresses=('93.184.216.34',))"


def test_a_target_without_an_address_is_connected_to_nothing(names, client):
    """No address was checked, so none is used: the name is not asked for another."""
    names[TARGET] = ["127.0.0.1"]
    with RawServer(lambda _: http(200)) as server, pytest.raises(NoReply) as caught:
        client.post_once(CheckedTarget(f"http://{TARGET}:{server.port}/", TARGET, ()), headers={}, content=b"")

    assert caught.value.kind == "connect"
    assert names["asked"] == []


def test_a_target_whose_name_is_unknown_is_no_reply(names):
    """A resolver that does not know it today may know it tomorrow: tried again, not refused."""
    with pytest.raises(NoReply) as caught:
        check_target("https://nowhere.example/", allow_private=False)

    assert caught.value.kind == "connect"
    assert caught.value.__context__ is None


def test_a_target_that_talks_too_long_has_taken_the_message(client):
    """Its answer is cut off at 64 KiB, not turned into another try."""
    with RawServer(lambda _: http(200, bytes(100_000))) as server:
        reply = post(client, server.url)

    assert (reply.status, len(reply.body)) == (200, 64 << 10)
