"""Certificates for servers that speak TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path

SUBJECTS = {"ca": "/CN=tests", "server": "/CN=127.0.0.1", "other": "/CN=another"}
NAMED = "subjectAltName=IP:127.0.0.1"


def make_papers(folder: Path) -> None:
    """Put a CA, a server's certificate by it, and a CA that has signed nothing into a folder."""
    openssl(folder, "req", "-x509", *new("ca"), "-out", "ca.pem")
    openssl(folder, "req", "-x509", *new("other"), "-out", "other.pem")
    openssl(folder, "req", *new("server"), "-out", "server.csr")
    (folder / "names").write_text(NAMED)
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl(folder, "x509", "-req", "-in", "server.csr", *signed, "-out", "server.pem")
    for part in (folder, *folder.iterdir()):
        part.chmod(0o755)  # the servers run as another user


def new(name: str) -> list[str]:
    return ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-subj", SUBJECTS[name]]


def openssl(folder: Path, *words: str) -> None:
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
