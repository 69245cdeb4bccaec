"""TLS: whom it trusts, and that it checks."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path
from typing import Any

import botocore.session
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kon.backends.aws.calls import Calls
from kon.backends.aws.lean import Unusual
from kon.backends.aws.lean.credentials import tls_context
from kon.core.errors import BackendUnavailable
from tests.backends.aws.lean.server import QUEUE, Server, serving, without_pauses


class Certificate(msgspec.Struct, frozen=True):
    """For `localhost` alone, signed by itself. context: a server's that has it."""

    file: Path
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    file, key_file = folder / "certificate.pem", folder / "key.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_file.write_bytes(key.private_bytes(*plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return Certificate(file, context)


def answered(
    environment: pytest.MonkeyPatch, certificate: Certificate, trusted: Path | None, host: str = "localhost"
) -> dict[str, Any]:
    """What a call by TLS is answered."""

    async def whole() -> dict[str, Any]:
        async with serving(environment, tls=certificate.context) as server, asyncio.timeout(60.0):
            environment.setenv("AWS_ENDPOINT_URL", server.url.replace("localhost", host))
            if trusted is not None:
                environment.setenv("AWS_CA_BUNDLE", str(trusted))
            calls = Calls()
            try:
                await send(calls)
                await send(calls)
                answer = await send(calls)
                assert server.connections == 1
                assert all("amz-sdk-request" not in request.headers for request in server.requests)
            finally:
                await calls.close()
            return answer

    without_pauses(environment)
    return asyncio.run(whole())


async def send(calls: Calls) -> dict[str, Any]:
    entries = [{"Id": "5", "MessageBody": "x"}]
    return await calls.call("sqs", "SendMessageBatch", QueueUrl=QUEUE, Entries=entries)


def test_a_certificate_that_is_trusted(monkeypatch: pytest.MonkeyPatch, certificate: Certificate) -> None:
    assert answered(monkeypatch, certificate, certificate.file) == {"Successful": [{"Id": "5"}]}


def test_one_that_nobody_has_signed(monkeypatch: pytest.MonkeyPatch, certificate: Certificate) -> None:
    with pytest.raises(BackendUnavailable, match=r"SSL validation failed .* self-signed certificate"):
        answered(monkeypatch, certificate, None)


def test_one_of_another_host(monkeypatch: pytest.MonkeyPatch, certificate: Certificate) -> None:
    with pytest.raises(BackendUnavailable, match=r"SSL validation failed .* IP address mismatch"):
        answered(monkeypatch, certificate, certificate.file, host="127.0.0.1")


def test_a_server_that_never_shakes_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    async def whole() -> None:
        silent = Server()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            silent.connections += 1
            await reader.read(-1)
            writer.close()

        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        async with serving(monkeypatch):
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{port}")
            calls = Calls()
            calls._lean._connect_s = 0.05
            with pytest.raises(BackendUnavailable, match="Connect timeout on endpoint URL"):
                await send(calls)
            await calls.close()
        assert silent.connections == 5
        listening.close()
        await listening.wait_closed()

    without_pauses(monkeypatch)
    asyncio.run(whole())


@pytest.fixture
def no_bundle(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def trusted_now() -> set[str]:
    """The names of those that are trusted."""
    found: list[dict[str, Any]] = tls_context(botocore.session.Session()).get_ca_certs()
    return {each["subject"][-1][0][1] for each in found}


def test_botocores_own_bundle(no_bundle: pytest.MonkeyPatch) -> None:
    assert "Amazon Root CA 1" in trusted_now()


def test_a_bundle_of_requests(no_bundle: pytest.MonkeyPatch, certificate: Certificate) -> None:
    no_bundle.setenv("REQUESTS_CA_BUNDLE", str(certificate.file))
    assert trusted_now() == {"localhost"}


def test_a_folder_of_certificates(no_bundle: pytest.MonkeyPatch, certificate: Certificate) -> None:
    no_bundle.setenv("AWS_CA_BUNDLE", str(certificate.file.parent))
    assert trusted_now() == set()  # they are read when they are needed


def test_certificates_are_checked_in_any_case(no_bundle: pytest.MonkeyPatch) -> None:
    context = tls_context(botocore.session.Session())
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_certificates_that_are_not_to_be_checked(no_bundle: pytest.MonkeyPatch) -> None:
    no_bundle.setenv("REQUESTS_CA_BUNDLE", "")
    with pytest.raises(Unusual, match="not to be checked"):
        tls_context(botocore.session.Session())


def test_certificates_that_are_not_there(no_bundle: pytest.MonkeyPatch) -> None:
    no_bundle.setenv("AWS_CA_BUNDLE", "/nowhere/at.all")
    with pytest.raises(Unusual, match="can't be read"):
        tls_context(botocore.session.Session())
