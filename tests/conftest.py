"""Fixtures of all tests. Nothing here needs a network, a GPU or the real data."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("DS_ACCELERATOR", "cpu")

DATA = Path(os.environ.get("FEATHERBENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Iterator[Path]:
    """The folder with the real data sets; skips where it is absent."""
    if not (DATA / "e2e").is_dir():
        pytest.skip(f"no data sets at {DATA}; set FEATHERBENCH_DATA")
    before = os.environ.get("FEATHERBENCH_DATA")
    os.environ["FEATHERBENCH_DATA"] = str(DATA)
    yield DATA
    if before is None:
        del os.environ["FEATHERBENCH_DATA"]
    else:
        os.environ["FEATHERBENCH_DATA"] = before


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny random Llama with a real tokenizer."""
    from featherbench.contracts.tiny import write_backbone

    return str(write_backbone("llama", tmp_path_factory.mktemp("tiny-llama")))


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny random GPT-2 with a real tokenizer."""
    from featherbench.contracts.tiny import write_backbone

    return str(write_backbone("gpt2", tmp_path_factory.mktemp("tiny-gpt2")))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL of a PostgreSQL server on loopback, started for these tests; skips where Debian's postgresql is missing."""
    found = [shutil.which("initdb"), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")))]
    if not any(found):
        pytest.skip("no PostgreSQL here; apt-get install postgresql")
    binaries = Path(next(path for path in reversed(found) if path)).resolve().parent
    user = "postgres" if os.getuid() == 0 else None  # the server refuses to be root
    with tempfile.TemporaryDirectory() as name, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        if user:
            shutil.chown(name, user)
        data = f"{name}/data"
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "user": user, "cwd": name}
        subprocess.run([binaries / "initdb", "-D", data, "-U", "feather", "-A", "trust", "--no-sync"], **quiet)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        control = [binaries / "pg_ctl", "-D", data, "-w", "-l", f"{name}/log"]
        subprocess.run([*control, "-o", options, "start"], **quiet)
        try:
            yield f"postgresql+psycopg://feather@127.0.0.1:{port}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **quiet)


@pytest.fixture
def postgresql(postgresql_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty PostgreSQL database."""
    name = f"store_{os.getpid()}_{abs(hash(request.node.nodeid))}"
    server = sa.create_engine(f"{postgresql_server}/postgres", isolation_level="AUTOCOMMIT")
    with server.connect() as db:
        db.execute(sa.text(f"CREATE DATABASE {name}"))
    yield f"{postgresql_server}/{name}"
    with contextlib.suppress(sa.exc.DBAPIError), server.connect() as db:
        db.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    server.dispose()
