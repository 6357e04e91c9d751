"""The web host of MTA-STS policies (RFC 8461 section 3.3): HTTPS on port 443 of a loopback address,
for many domains at once.

What a domain answers is in `policies`, and may be changed at any time; `requests` has the name of
each host that was asked for, as the client said it. stop() closes the port, start() opens it again.
"""

import http.server
import ssl
import threading

PORT = 443
PATH = "/.well-known/mta-sts.txt"


class PolicyHost:
    def __init__(self, address, certificate):
        self.address, self.policies, self.requests = address, {}, []
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*certificate)
        self._server = None
        self.start()

    def publish(self, domain, mode, *mx, max_age=86400):
        self.policies[domain] = "\r\n".join(
            ["version: STSv1", f"mode: {mode}", *[f"mx: {name}" for name in mx],
             f"max_age: {max_age}", ""])

    def start(self):
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                name = self.headers.get("Host", "")
                host.requests.append(name)
                text = host.policies.get(name.removeprefix("mta-sts."))
                if self.path != PATH or text is None:
                    self.send_error(404)
                    return
                body = text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a client that does not like the certificate is what a test may want
        self._server = Server((self.address, PORT), Handler)
        # The handshake is the thread's: one client that is slow holds up no other.
        self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True,
                                                    do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
