"""Reads a second from a CDN that is reached through TLS, as CloudFront is, beside nginx that does the same."""

import subprocess

from . import machine
from .load import beside
from .machine import LOAD_CORE, MEASURED_CORE, Unfit
from .outcome import Outcome
from .proxy import compare, start_gateways
from .servers import Nginx

SIZES = {"50 KiB": 50 * 1024, "1 MiB": 1024 * 1024, "64 MiB": 64 * 1024 * 1024}
_NGINX = "nginx proxy_pass https"


def run(binaries, work, options, say):
    (work / "objects/images").mkdir(parents=True)
    _certify(work)
    cdn = Nginx.start("tls-cdn.nginx.conf", LOAD_CORE, work, "https")
    nginx = Nginx.start("tls-peer.nginx.conf", MEASURED_CORE, work, CDN_PORT=cdn.port)
    gateways = start_gateways(binaries, work, cdn, {"SSL_CERT_FILE": str(work / "ca.pem")})
    parts = [
        "TLS 1.3 with AES-128-GCM on both sides of the comparison, connections kept, the CDN's certificate "
        "checked. Clients are in the clear."
    ]
    for size_name, size in SIZES.items():
        runs = compare(size_name, size, nginx, _NGINX, gateways, work, options, say)
        parts += beside(size_name, runs, _NGINX)
    return Outcome("Reads from the CDN through TLS", parts)


def _certify(work):
    """An authority, `ca.pem`, and the CDN's certificate by it, `cdn.pem`, for the two names of this machine."""
    machine.need({"openssl": "openssl"})
    names = work / "names"
    names.write_text("subjectAltName = DNS:localhost, IP:127.0.0.1\nbasicConstraints = CA:FALSE\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl(work, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=bench CA")
    _openssl(work, "req", *key, "-keyout", "cdn.key", "-out", "cdn.csr", "-subj", "/CN=localhost")
    authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", names]
    _openssl(work, "x509", "-req", "-in", "cdn.csr", *authority, "-days", "2", "-out", "cdn.pem")


def _openssl(work, *arguments):
    ran = subprocess.run(["openssl", *arguments], cwd=work, capture_output=True, text=True)
    if ran.returncode != 0:
        raise Unfit(f"openssl {arguments[0]} failed: {ran.stderr}")
