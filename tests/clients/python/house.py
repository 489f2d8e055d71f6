"""A fake Graph, graphward in front of it, and the token between them: a house of its own for each test file.

Nothing here knows a client library; the tests of each do.
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

ROOT = pathlib.Path(__file__).parents[3]
BINARY = os.environ.get("GRAPHWARD", str(ROOT / "target/debug/graphward"))
# What Graph's names stand for: all of them are the fake, which has a certificate for each.
HOSTS = ["graph.facebook.com", "lookaside.fbsbx.com"]
# The secret of the fake's own app.
APP_SECRET = "0123456789abcdef0123456789abcdef"
# The longest that anything may take, in seconds.
PATIENCE = 20


class House:
    """Use it in a `with`. `url` is graphward's address, `graph` the fake's control, `ca` what to trust with `tls`."""

    def __init__(self, config="", fake_graph=(), tls=False):
        self.folder = tempfile.TemporaryDirectory(prefix="graphward-")
        self.place = pathlib.Path(self.folder.name)
        self.running, self.tokens = [], []
        try:
            self._move_in(config, fake_graph, tls)
        except BaseException:
            self.close()
            raise

    def _move_in(self, config, fake_graph, tls):
        said = self._start(
            "fake-graph", "--listen=127.0.0.1:0", "--control=127.0.0.1:0", f"--ca-out={self.place}/ca.pem", *fake_graph
        )
        address = said(r"^graph +https://(\S+)$")
        self.graph = Graph(said(r"^control +(\S+)$"))
        self.drop()
        (self.place / "app_secret").write_text(APP_SECRET)
        self.ca, listen = str(self.place / "tls/ca.pem"), ""
        if tls:
            subprocess.run([BINARY, "ca", f"--out={self.place}/tls"], check=True, stdout=subprocess.DEVNULL)
            listen = f'tls = {{ cert = "{self.place}/tls/cert.pem", key = "{self.place}/tls/key.pem" }}\n'
        connect_to = "".join(f'"{host}" = "{address}"\n' for host in HOSTS)
        (self.place / "graphward.toml").write_text(
            f'[listen]\nproxy = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\n{listen}'
            f'[upstream]\nca_file = "{self.place}/ca.pem"\n[upstream.connect_to]\n{connect_to}'
            f'[token]\nsource = {{ file = "{self.place}/token" }}\n'
            f'[log]\nformat = "json"\nrequests = "all"\n' + config.replace("FOLDER", str(self.place))
        )
        said = self._start("serve", f"--config={self.place}/graphward.toml")
        self.url = said(r'"proxy listener started","address":"(http://[^"]+)"')
        said(r'"a new token is in use"')

    def _start(self, command, *flags):
        """Starts a command; what it gives back waits for a line of its output."""
        output = self.place / f"{command}.log"
        with open(output, "wb") as log:
            process = subprocess.Popen([BINARY, command, *flags], stdout=log, stderr=subprocess.STDOUT)
        self.running.append(process)

        def said(pattern):
            def found():
                assert process.poll() is None, f"{command} has stopped:\n{output.read_text()}"
                return re.search(pattern, output.read_text(), re.MULTILINE)

            found = until(found, f"{command} to say {pattern}")
            return found.group(found.re.groups)

        return said

    def drop(self):
        """Issues a token and puts it where graphward looks, whole."""
        token = self.graph.issue()
        (self.place / "new").write_text(token)
        (self.place / "new").rename(self.place / "token")
        self.tokens.append(token)

    def assert_that_graph_saw_our_tokens_only(self):
        """No call had a token of the library's, anywhere in it, and each had one that graphward was given."""
        ours = {hashlib.sha256(token.encode()).hexdigest()[:8] for token in self.tokens}
        for call in self.graph.calls():
            assert call["authorization"]["token"] in ours, call
            assert not call["access_tokens"] and "access_token" not in json.dumps(call["items"]), call

    def log(self):
        """What graphward has logged so far."""
        return (self.place / "serve.log").read_text()

    def across_an_expiry(self, call):
        """Makes calls, two at a time, while the token expires and, a little later, another is dropped.

        `call` is given a number that no other call has; what they gave back is given back.
        """
        rejected, answers = self.graph.rejected(), []
        numbers, enough = itertools.count(), threading.Event()

        def calls():
            while not enough.is_set():
                answers.append(call(next(numbers)))

        with ThreadPoolExecutor(2) as pool:
            callers = [pool.submit(calls) for _ in range(2)]

            def more(than):
                failed = [caller.exception() for caller in callers if caller.done()]
                if failed:
                    raise failed[0]
                return len(answers) > than

            try:
                until(lambda: more(than=3), "the first calls")
                self.graph.expire(self.tokens[-1])
                until(lambda: self.graph.rejected() > rejected, "a call to be rejected")
                time.sleep(0.1)
                before = len(answers)
                self.drop()
                until(lambda: more(than=before + 5), "calls with the new token")
            finally:
                enough.set()
        return answers

    def close(self):
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Graph:
    """The fake Graph, by its control API."""

    def __init__(self, control):
        self.control = control

    def issue(self):
        return self._post("/tokens")["access_token"]

    def issue_dead(self):
        """A token that was one once."""
        token = self.issue()
        self.expire(token)
        return token

    def expire(self, token):
        assert self._post("/tokens/expire", token=token) == {"expired": 1}

    def reset(self):
        """Forgets what happened; tokens stay."""
        self._post("/reset")

    def delay_the_next(self, time):
        """Lets the next call wait before it is looked at."""
        self._post("/faults", **{"kind": "delay", "for": time})

    def rejected(self):
        """Calls so far whose token was dead, unknown or missing."""
        return self._get("/state")["counts"]["rejected"]

    def messages(self):
        """The messages that were accepted."""
        return self._get("/messages")["data"]

    def texts(self):
        """The texts that were accepted, in alphabetical order: one that was sent twice is there twice."""
        return sorted(message["params"]["text"]["body"] for message in self.messages())

    def calls(self):
        """All calls that reached Graph, and the credentials that they came with; but not graphward's own question about a token."""
        calls = self._get("/calls")["data"]
        return [call for call in calls if not call["target"].startswith("/debug_token")]

    def _get(self, path):
        with urllib.request.urlopen(self.control + path, timeout=PATIENCE) as answer:
            return json.load(answer)

    def _post(self, path, **body):
        request = urllib.request.Request(self.control + path, json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)


def until(done, what):
    """Waits until `done` gives something that is true, and gives it back."""
    deadline = time.monotonic() + PATIENCE
    while not (result := done()):
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        time.sleep(0.01)
    return result
