"""Many sessions that ask a daemon about recipients all the time, and remember what they were told.

Addresses begin with "known" or "nobody": so the right answer is known beforehand, and any other is
kept in `wrong`. A connection that breaks is made again: the daemon may be killed under them.
"""

import random
import threading
import time

from harness.milter_client import HungUp, MilterClient


def is_right(address, reply):
    """A recipient that exists is accepted, one that does not is refused with the hop's code."""
    if address.startswith("known"):
        return reply.action == "c"
    return reply.text.startswith("550 5.1.1 ")


class Askers:
    def __init__(self, path, route, count, domains=("one.test",)):
        self._path, self._route, self._domains = path, route, domains
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self.answered = {}  # address -> when it was first answered
        self.replies, self.wrong = 0, []
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True)
                         for number in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def answered_before(self, moment, except_in=()):
        """Addresses first answered before that moment, and in none of these spans of time."""
        with self._lock:
            return [address for address, when in self.answered.items()
                    if when < moment and not any(a <= when <= b for a, b in except_in)]

    def _run(self, number):
        chance, made = random.Random(number), 0
        while not self._stopped.is_set():
            try:
                client = MilterClient(f"unix:{self._path}", client=f"192.0.2.{number % 250 + 1}")
            except (OSError, HungUp):  # nobody is there at the moment
                self._stopped.wait(0.02)
                continue
            try:
                while not self._stopped.is_set():
                    made += 1
                    self._ask(client, self._address(chance, number, made))
            except (OSError, HungUp):
                pass
            finally:
                client.close()

    def _address(self, chance, number, made):
        if chance.random() < 0.5 and made > 1:
            made = chance.randrange(1, made)  # once more
        kind = "known" if made % 3 else "nobody"
        return f"{kind}.{number}.{made}@{self._domains[made % len(self._domains)]}"

    def _ask(self, client, address):
        reply = client.rcpt(address, self._route)
        client.abort()
        if not reply.action:
            raise HungUp
        now = time.monotonic()
        with self._lock:
            self.replies += 1
            self.answered.setdefault(address, now)
            if not is_right(address, reply):
                self.wrong.append((address, str(reply)))
