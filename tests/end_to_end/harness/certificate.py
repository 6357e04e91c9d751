"""A throw-away self-signed certificate, made by openssl(1)."""

import subprocess


def make_certificate(sandbox, name="hop.test", *others):
    """Paths of certificate and key. others: further names of the host, as in "DNS:mx.test" or
    "IP:127.0.0.1"; with any, the first name counts no more for a client."""
    certificate, key = sandbox.path(f"{name}.pem"), sandbox.path(f"{name}.key")
    names = ["-addext", "subjectAltName = " + ",".join(others)] if others else []
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                    "-nodes", "-days", "2", "-subj", f"/CN={name}", *names, "-keyout", key, "-out",
                    certificate],
                   check=True, capture_output=True)
    return certificate, key
