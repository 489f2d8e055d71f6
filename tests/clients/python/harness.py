"""Runs a fake Graph and graphward in front of it, one pair for each test file.

Nothing here knows a client library.
"""

import hashlib
import itertools
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[3]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = os.environ.get("GRAPHWARD", str(TARGET / "debug/graphward"))
# The fake Graph serves all of these hosts, and has a certificate for each.
HOSTS = ["graph.facebook.com", "lookaside.fbsbx.com", "rupload.facebook.com"]
# The app secret that the fake Graph knows.
APP_SECRET = "0123456789abcdef0123456789abcdef"
# The longest time that a step may take, in seconds.
TIMEOUT = 20


class Tenant(NamedTuple):
    """A tenant: the objects on which its token may act, and those that graphward knows to be its own."""

    targets: tuple[str, ...]
    ids: tuple[str, ...] = ()


class Harness:
    """A context manager. `url` is graphward's address, `graph` the fake Graph, `ca` the CA to trust with `tls`.

    `tenants` are the tenants by name. Without, there is one token.
    """

    def __init__(self, config="", fake_graph=(), tls=False, tenants=None):
        self.tenants = tenants or {}
        self._tempdir = tempfile.TemporaryDirectory(prefix="graphward-")
        self.folder = pathlib.Path(self._tempdir.name)
        self.processes, self.tokens = [], []
        try:
            self._start(config, fake_graph, tls)
        except BaseException:
            self.close()
            raise

    def _start(self, config, fake_graph, tls):
        folder = self.folder
        wait_for_line = self._spawn(
            "fake-graph", "--listen=127.0.0.1:0", "--control=127.0.0.1:0", f"--ca-out={folder}/ca.pem", *fake_graph
        )
        address = wait_for_line(r"^graph +https://(\S+)$")
        self.graph = Graph(wait_for_line(r"^control +(\S+)$"))
        for name in self.tenants or ["token"]:
            self.drop_token(name)
        (folder / "app_secret").write_text(APP_SECRET)
        self.ca, listen = str(folder / "tls/ca.pem"), ""
        if tls:
            subprocess.run([BINARY, "ca", f"--out={folder}/tls"], check=True, stdout=subprocess.DEVNULL)
            listen = f'tls = {{ cert = "{folder}/tls/cert.pem", key = "{folder}/tls/key.pem" }}\n'
        connect_to = "".join(f'"{host}" = "{address}"\n' for host in HOSTS)
        (folder / "graphward.toml").write_text(
            f'[listen]\nproxy = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\n{listen}'
            f'[upstream]\nca_file = "{folder}/ca.pem"\n[upstream.connect_to]\n{connect_to}'
            f'[log]\nformat = "json"\nrequests = "all"\n{self._tokens_config()}' + config.replace("FOLDER", str(folder))
        )
        wait_for_line = self._spawn("serve", f"--config={folder}/graphward.toml")
        self.url = wait_for_line(r'"proxy listener started","address":"(http://[^"]+)"')
        wait_until(lambda: self.tokens_used() == len(self.tokens), "all tokens to be in use")

    def _tokens_config(self):
        if not self.tenants:
            return f'[token]\nsource = {{ file = "{self.folder}/token" }}\n'
        return '[routing]\nheader = "X-Tenant-Id"\n' + "".join(
            f'[tenants.{name}]\nids = {list(tenant.ids)}\nsource = {{ file = "{self.folder}/{name}" }}\n'
            for name, tenant in self.tenants.items()
        )

    def _spawn(self, command, *flags):
        """Starts a command, and returns a function that waits for a line of its output."""
        output = self.folder / f"{command}.log"
        with open(output, "wb") as log:
            process = subprocess.Popen([BINARY, command, *flags], stdout=log, stderr=subprocess.STDOUT)
        self.processes.append(process)

        def wait_for_line(pattern):
            def search():
                assert process.poll() is None, f"{command} has stopped:\n{output.read_text()}"
                return re.search(pattern, output.read_text(), re.MULTILINE)

            match = wait_until(search, f"{command} to print {pattern}")
            return match.group(match.re.groups)

        return wait_for_line

    def drop_token(self, name="token"):
        """Issues a token and renames a file that holds it to the path that graphward watches: that of the tenant `name`."""
        tenant = self.tenants.get(name)
        token = self.graph.issue(**{"name": name, "targets": tenant.targets} if tenant else {})
        (self.folder / f"{name}.new").write_text(token)
        (self.folder / f"{name}.new").rename(self.folder / name)
        self.tokens.append(token)
        return token

    def assert_only_our_tokens_reached_graph(self):
        """Checks that each call had a token that graphward was given, and none had another one anywhere in it."""
        ours = {hashlib.sha256(token.encode()).hexdigest()[:8] for token in self.tokens}
        for call in self.graph.calls():
            assert call["authorization"]["token"] in ours, call
            assert not call["access_tokens"] and "access_token" not in json.dumps(call["items"]), call

    def log(self):
        """Returns what graphward has logged so far."""
        return (self.folder / "serve.log").read_text()

    def tokens_used(self):
        """The number of tokens that graphward has begun to use."""
        return self.log().count('"using a new token"')

    def across_an_expiry(self, call):
        """Makes calls, two at a time, while the token expires and, a little later, another one is dropped.

        `call` gets a number that no other call has. Returns what the calls returned.
        """
        rejected, answers = self.graph.rejected(), []
        numbers, enough = itertools.count(), threading.Event()

        def call_until_enough():
            while not enough.is_set():
                answers.append(call(next(numbers)))

        with ThreadPoolExecutor(2) as pool:
            callers = [pool.submit(call_until_enough) for _ in range(2)]

            def answered_more_than(count):
                failed = [caller.exception() for caller in callers if caller.done()]
                if failed:
                    raise failed[0]
                return len(answers) > count

            try:
                wait_until(lambda: answered_more_than(3), "the first calls")
                self.graph.expire(self.tokens[-1])
                wait_until(lambda: self.graph.rejected() > rejected, "a call to be rejected")
                time.sleep(0.1)
                before = len(answers)
                self.drop_token()
                wait_until(lambda: answered_more_than(before + 5), "calls with the new token")
            finally:
                enough.set()
        return answers

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
        self._tempdir.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Graph:
    """The control API of the fake Graph."""

    def __init__(self, control):
        self.control = control

    def issue(self, **properties):
        return self._post("/tokens", **properties)["access_token"]

    def issue_expired(self):
        """Returns a token that has expired."""
        token = self.issue()
        self.expire(token)
        return token

    def expire(self, token):
        assert self._post("/tokens/expire", token=token) == {"expired": 1}

    def reset(self):
        """Forgets messages, calls and counts, and keeps the tokens."""
        self._post("/reset")

    def delay_next_call(self, time):
        """Delays the answer to the next call."""
        self._post("/faults", **{"kind": "delay", "for": time})

    def rejected(self):
        """The number of calls so far whose token was expired, unknown or missing."""
        return self._get("/state")["counts"]["rejected"]

    def messages(self):
        """The messages that were accepted."""
        return self._get("/messages")["data"]

    def texts(self):
        """The texts that were accepted, in alphabetical order: a text that was sent twice is there twice."""
        return sorted(message["params"]["text"]["body"] for message in self.messages())

    def objects(self):
        """How often each token came with each object, and the calls with a token that may not act on the object."""
        return self._get("/objects")

    def calls(self):
        """All calls of clients that reached Graph, with their credentials; not graphward's own `debug_token` and `/me`."""
        calls = self._get("/calls")["data"]
        return [call for call in calls if not call["target"].startswith(("/debug_token", "/me?fields=id"))]

    def _get(self, path):
        with urllib.request.urlopen(self.control + path, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def _post(self, path, **body):
        request = urllib.request.Request(self.control + path, json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return json.load(answer)


def wait_until(done, what):
    """Waits until `done` returns something true, and returns it."""
    deadline = time.monotonic() + TIMEOUT
    while not (result := done()):
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.01)
    return result
