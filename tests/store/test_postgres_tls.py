"""TLS to a server: its authority, its host name, and a user who has a certificate.

The server is of Debian's package, because the wheel's has no TLS.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg
import pytest
import trustme

from streaming.settings import Settings
from streaming.store.connection import connect
from tests.in_process import run_here
from tests.postgres import BINARIES, PostgresServer, start_postgres

HOST: Final = "db.example.com"
SECRET: Final = "sa-fe-ty"
RULES: Final = "hostssl all bob all cert\nhostssl all all all scram-sha-256\n"
"""Bob logs in by his certificate, all others by a password, and nobody without TLS."""

FILES: Final = ("sslrootcert", "sslcert", "sslkey")
Options = dict[str, str]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the certificates of an authority, of its server and its user, and others."""
    directory = tmp_path_factory.mktemp("certificates")
    issuer = trustme.CA()
    for name, authority in (("authority", issuer), ("other", trustme.CA())):
        authority.cert_pem.write_to_path(directory / f"{name}.pem")
    for name, owner in (
        ("server", issuer.issue_cert(HOST)),
        ("bob", issuer.issue_cert(common_name="bob")),
        ("eve", issuer.issue_cert(common_name="eve")),
    ):
        owner.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
        key = directory / f"{name}.key"
        key.touch(mode=0o600)
        owner.private_key_pem.write_to_path(key)
    return directory


@pytest.fixture(scope="module")
def server(
    certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresServer]:
    """A server that nobody reaches without TLS; its users are ann and bob."""
    with pytest.MonkeyPatch.context() as patch:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        assert programs, "Debian's package postgresql is missing: apt-get install postgresql"
        patch.setenv(BINARIES, str(programs[-1].parent))
        made = start_postgres(tmp_path_factory.mktemp("postgres-with-tls") / "server")
        with psycopg.connect(made.conninfo(), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE ann LOGIN PASSWORD '{SECRET}'")
            connection.execute("CREATE ROLE bob LOGIN")
        files = (("ca", "authority.pem"), ("cert", "server.pem"), ("key", "server.key"))
        with (made.directory / "postgresql.conf").open("a") as conf:
            conf.write("ssl = on\n")
            conf.writelines(f"ssl_{kind}_file = '{certificates / name}'\n" for kind, name in files)
        (made.directory / "pg_hba.conf").write_text(RULES)
        made.stop()
        made.start_again()
        yield made
        made.stop()


def variables(way: str, given: Options, certificates: Path, tmp_path: Path) -> dict[str, str]:
    """Return the environment with a connection's options, in a URL or in a service file."""
    options = {name: str(certificates / v) if name in FILES else v for name, v in given.items()}
    if way == "url":
        user = ":".join(options.pop(name) for name in ("user", "password") if name in options)
        address = f"{options.pop('host')}:{options.pop('port')}/{options.pop('dbname')}"
        rest = "&".join(f"{name}={value}" for name, value in options.items())
        return {"PURCHASES_DATABASE_URL": f"postgresql+psycopg://{user}@{address}?{rest}"}
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    passwords.write_text(f"{options['host']}:*:*:ann:{options.pop('password', '')}\n")
    service = tmp_path / "services"
    service.write_text("\n".join(["[shop]", *(f"{name}={options[name]}" for name in options)]))
    return {
        "PURCHASES_DATABASE_URL": "postgresql+psycopg://?service=shop",
        "PGSERVICEFILE": str(service),
        "PGPASSFILE": str(passwords),
    }


@pytest.fixture
def users(server: PostgresServer) -> Iterator[dict[str, Options]]:
    """What users connect by to a new database: ann has a password, and bob a certificate."""
    name = server.create_database()
    with psycopg.connect(server.conninfo(name), autocommit=True) as connection:
        connection.execute("GRANT ALL ON SCHEMA public TO ann, bob")
    address = {
        "host": HOST,
        "hostaddr": "127.0.0.1",
        "port": str(server.port),
        "dbname": name,
        "sslmode": "verify-full",
        "sslrootcert": "authority.pem",
    }
    yield {
        "ann": {**address, "user": "ann", "password": SECRET},
        "bob": {**address, "user": "bob", "sslcert": "bob.pem", "sslkey": "bob.key"},
    }
    server.drop_database(name)


@pytest.mark.parametrize("way", ["url", "service"])
@pytest.mark.parametrize("user", ["ann", "bob"])
def test_the_store_is_made_and_read_over_tls(
    way: str, user: str, users: dict[str, Options], certificates: Path, tmp_path: Path
) -> None:
    """By a password and by a certificate, of a server whose name and authority are checked."""
    given = variables(way, users[user], certificates, tmp_path)
    home = tmp_path / "home"
    done = run_here("streaming", ("db", "upgrade"), {"PURCHASES_HOME": str(home), **given})
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        store = connect(Settings(home=home).database)
    with closing(store):
        assert store.execute("SELECT count(*) FROM analytics_event").fetchone() == (0,)
        shown = "version, coalesce(substring(client_dn FROM 'CN=(.*)'), '')"
        session = f"SELECT {shown} FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        owner = {"ann": "", "bob": "bob"}[user]
        assert store.execute(session).fetchone() == ("TLSv1.3", owner)


@pytest.mark.parametrize("way", ["url", "service"])
@pytest.mark.parametrize(
    "wrong",
    [
        ("ann", {"host": "db2.example.com"}, 'for "db.example.com" does not match host name "db2'),
        ("ann", {"sslrootcert": "other.pem"}, "not answer: SSL error: certificate verify failed"),
        ("ann", {"sslrootcert": "no.pem"}, 'does not answer: root certificate file "'),
        ("ann", {"sslmode": "disable"}, "refuses this user; check user, password, sslmode"),
        ("bob", {"sslcert": "no.pem"}, "refuses this user; check user, password, sslmode"),
        ("bob", {"sslcert": "eve.pem", "sslkey": "eve.key"}, "refuses this user; check user"),
        ("bob", {"sslkey": "eve.key"}, "does not answer: could not load private key file"),
    ],
    ids=["host name", "authority", "no authority", "no TLS", "no certificate", "eve's", "key"],
)
def test_what_is_wrong_with_tls_is_one_sentence(
    way: str,
    wrong: tuple[str, Options, str],
    users: dict[str, Options],
    certificates: Path,
    tmp_path: Path,
) -> None:
    """It says which part is wrong, and never the password."""
    user, parts, sentence = wrong
    given = variables(way, {**users[user], **parts}, certificates, tmp_path)
    environment = {"PURCHASES_HOME": str(tmp_path / "home"), **given}
    done = run_here("streaming", ("db", "upgrade"), environment)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert SECRET not in done.stdout + done.stderr
