"""A throw-away self-signed certificate, made by openssl(1)."""

import subprocess


def make_certificate(sandbox, name="hop.test"):
    """Paths of certificate and key."""
    certificate, key = sandbox.path(f"{name}.pem"), sandbox.path(f"{name}.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                    "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out",
                    certificate],
                   check=True, capture_output=True)
    return certificate, key
