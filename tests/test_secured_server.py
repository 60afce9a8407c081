"""The main job on a server with basic authentication behind TLS, with a certificate of our own."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mlflow import MlflowClient
from prepared import write_text_zoo
from waiting import PATH, run_server

pytest.importorskip("flask_wtf", reason="MLflow's basic-auth app needs Flask-WTF")

pytestmark = pytest.mark.slow

USER = "keeper"
#: with characters that end a password for a careless reader
PASSWORD = "hUsh/w0rd@x:y!"  # noqa: S105 - of a server of these tests


@dataclass(frozen=True)
class Secured:
    """A running server, and where it keeps what it is told."""

    url: str
    folder: Path
    certificate: Path


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a key and its own certificate for this machine, and return both files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_file, certificate_file = folder / "key.pem", folder / "certificate.pem"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """MLflow's own server with its basic-auth app, and TLS by uvicorn."""
    private, folder = tmp_path_factory.mktemp("private"), tmp_path_factory.mktemp("secured")
    key, certificate = write_certificate(private)
    (private / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{folder}/auth.db\nadmin_username = {USER}\n"
        f"admin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {
        **os.environ,
        "PATH": PATH,
        "MLFLOW_AUTH_CONFIG_PATH": str(private / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key of these tests",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    for name in ("MLFLOW_TRACKING_URI", "_MLFLOW_SERVER_ARTIFACT_ROOT"):
        environment.pop(name, None)

    def command(port: str) -> list[str]:
        tls = f"--ssl-keyfile {key} --ssl-certfile {certificate}"
        return [
            *(sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"),
            *("--workers", "1", "--host", "127.0.0.1", "--port", port, "--uvicorn-opts", tls),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificate))  # for the question whether it answers
        with run_server(command, folder, environment, "https") as url:
            yield Secured(url, folder, certificate)


def run(
    secured: Secured, cache: Path, uri: str, credentials: Mapping[str, str], *argv: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, as its user would."""
    environment = {
        **{k: v for k, v in os.environ.items() if k != "_MLFLOW_SERVER_ARTIFACT_ROOT"},
        "PATH": PATH,
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(secured.certificate),
        "MLFLOW_RECALL_CACHE": str(cache),
        **credentials,
    }
    return subprocess.run(
        [sys.executable, "-m", "mlflow_recall", *argv],
        env=environment,
        cwd=cache,
        capture_output=True,
        text=True,
        check=False,
    )


def holders(folder: Path, texts: list[str]) -> list[str]:
    """Return the files below a folder that hold one of these texts."""
    wanted = [text.encode() for text in texts]
    return [
        str(file)
        for file in folder.rglob("*")
        if file.is_file() and any(text in file.read_bytes() for text in wanted)
    ]


def test_the_main_job_passes_and_leaves_no_password(secured: Secured, tmp_path: Path) -> None:
    """The password comes by variables and by the address: neither may be printed or stored."""
    files, cache = tmp_path / "files", tmp_path / "cache"
    files.mkdir()
    cache.mkdir()
    zoo, benchmarks, target = write_text_zoo(files, 2)
    by_variables = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    address = secured.url.replace("https://", f"https://{USER}:{quote(PASSWORD, safe='')}@")
    few = ["--epochs", "1", "--workers", "1"]
    commands = [
        (secured.url, by_variables, ["register", "--zoo", str(zoo)]),
        (
            secured.url,
            by_variables,
            ["benchmark", "--datasets", str(benchmarks), "--only", "set-0,set-1", *few],
        ),
        (address, {}, ["cluster"]),
        (
            address,
            {},
            ["select", "--dataset", str(target), "--final", "same", "--register-as", "won", *few],
        ),
    ]

    outputs = []
    for uri, credentials, argv in commands:
        done = run(secured, cache, uri, credentials, *argv)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout + done.stderr)
    wrong = address.replace(quote(PASSWORD, safe=""), "wr0ng-hUsh")
    refused = run(secured, cache, wrong, {}, "cluster")

    assert "winner: " in outputs[-1]
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "hUsh" not in "".join([*outputs, refused.stdout, refused.stderr])
    secrets = [PASSWORD, quote(PASSWORD, safe=""), json.dumps(PASSWORD)]
    assert holders(secured.folder, secrets) == []
    assert holders(cache, secrets) == []
    assert "hUsh" not in repr(_versions(secured, by_variables))


def _versions(secured: Secured, credentials: Mapping[str, str]) -> list[object]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in credentials.items():
            patch.setenv(name, value)
        patch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(secured.certificate))
        client = MlflowClient(tracking_uri=secured.url)
        (version,) = client.search_model_versions("name = 'won'")
        assert version.run_id is not None
        return [version, client.get_run(version.run_id).to_dictionary()]
