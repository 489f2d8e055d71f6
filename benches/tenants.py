"""Measures graphward with 10,000 tenants: tenants.py DIRECTORY [STEP…]; benches/tenants calls it.

The steps are `memory` (of a tenant at rest and of one that had a request, start, first requests, a notification with all rows),
`round_trips` (of the first request of a tenant that is not listed to the database, and to a credential service),
`instructions` (of a request, beside a process that has one token and reads no signs), `cpu` (the same in CPU time) and `renewals`
(10,000 tokens that are due in the same minute).
"""
import http.client
import http.server
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time

TENANTS = 10_000
DIRECTORY, STEPS = sys.argv[1], sys.argv[2:] or ["memory", "round_trips", "instructions", "cpu", "renewals"]
TOKEN, GRAPHWARD, FAKE_GRAPH = (os.environ[name] for name in ("TOKEN", "GRAPHWARD", "FAKE_GRAPH"))
# The origin rejects it.
OTHER_TOKEN = TOKEN.replace("bench", "other")
POSTGRES = 'postgres = "postgres://postgres@127.0.0.1'
QUERY = "SELECT name AS tenant, token, ARRAY[phone, waba] AS ids, expires_at FROM tenants"
BUDGETS = dict(re.findall(r"^(\w+) *= *([0-9.]+)", open("benches/budgets").read(), re.MULTILINE))
exceeded = []


def check(name, value, text):
    own = f"{os.environ.get('BUILD')}_{name}"
    name = own if own in BUDGETS else name
    print(f"{text}, budget {BUDGETS[name]}", flush=True)
    if value > float(BUDGETS[name]):
        exceeded.append(name)


def sql(text):
    command = ["psql", "-h", f"{DIRECTORY}/data", "-p", "28551", "-U", "postgres", "-qAtc", text]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def fill(token, expires_at="NULL"):
    sql(f"""DROP TABLE IF EXISTS tenants;
        CREATE TABLE tenants (name text PRIMARY KEY, token text, phone text, waba text, expires_at timestamptz);
        INSERT INTO tenants SELECT 't' || n, '{token}' || n, (1e14 + n)::bigint, (2e14 + n)::bigint, {expires_at}
        FROM generate_series(1, {TENANTS}) n;
        ANALYZE tenants""")


class Proxy:
    """A graphward on core 0. Without a query, it has the token alone."""

    def __init__(self, port, query=QUERY, origin=28552, ca="ca.pem", more="", token="verify = false", runner=(), place=f'{POSTGRES}:28551/postgres"'):
        self.port, self.began = port, time.monotonic()
        path = f"{DIRECTORY}/tenants{port}.toml"
        with open(path, "w") as file:
            file.write(f"""[listen]
proxy = "127.0.0.1:{port}"
admin = "127.0.0.1:{port + 1000}"
[upstream]
ca_file = "{DIRECTORY}/{ca}"
[upstream.connect_to]
"graph.facebook.com" = "127.0.0.1:{origin}"
[token]
{token}
""")
            if query:
                place += f'\nquery = "{query}"'
            if query or place.startswith("http"):
                file.write(f"""[routing]
header = "X-Tenant-Id"
[tenants_from]
{place}
poll_interval = "1d"
{more}
""")
        self.log = open(f"{DIRECTORY}/tenants{port}.log", "w")
        command = ["taskset", "-c", "0", *runner, GRAPHWARD, "serve", "--config", path]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        while self.status("/readyz", port + 1000) != 200:
            assert self.process.poll() is None, open(self.log.name).read()
            assert time.monotonic() < self.began + 300, "graphward is not ready"
            time.sleep(0.002)
        self.ready_after = time.monotonic() - self.began

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def status(self, path, port=None, tenant=None, connection=None):
        connection = connection or http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=60)
        try:
            connection.request("GET", path, headers={"X-Tenant-Id": tenant} if tenant else {})
            response = connection.getresponse()
            response.read()
            return response.status
        except ConnectionError:
            return None

    def memory(self):
        time.sleep(3)
        # Not the pages of the program: how many of them are in memory depends on where it was loaded.
        return int(re.search(r"RssAnon:\s+(\d+)", open(f"/proc/{self.process.pid}/status").read()).group(1))

    def cpu(self):
        tasks = f"/proc/{self.process.pid}/task"
        return sum(int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks)) / 1e9


def statements():
    """The number of statements that read the table of tenants so far."""
    return sum("tenants" in line and "SELECT" in line for line in open(f"{DIRECTORY}/data/log"))


def measure_memory():
    fill(TOKEN)
    with Proxy(28190, QUERY + " WHERE name = 't1'") as one, Proxy(28191) as all_tenants:
        ready = all_tenants.ready_after * 1000
        check("tenants_ready", ready, f"ready {ready:.0f} ms after the start, with one tenant {one.ready_after * 1000:.0f} ms")
        closed = all_tenants.memory()
        at_rest = (closed - one.memory()) * 1024 / TENANTS
        check("tenant_closed", at_rest, f"a tenant at rest takes {at_rest:.0f} bytes")
        before = statements()
        assert one.status("/v23.0/me", tenant="t1") == 200
        first, first_cpu = send_to_each(all_tenants)
        reads = statements() - before
        check("tenant_first_reads", reads, f"first requests of {TENANTS} listed tenants read the table {reads} times")
        opened = (all_tenants.memory() - closed) * 1024 / TENANTS
        check("tenant_open", opened, f"an open one takes {opened:.0f} bytes more")
        second, second_cpu = send_to_each(all_tenants)
        opening = (first_cpu - second_cpu) / TENANTS * 1e6
        check("tenant_opening", opening, f"first requests, 64 at a time: {first:.2f} s, second ones {second:.2f} s: {opening:.0f} us of CPU "
              "for the opening of a tenant")
        before = statements()
        sql(f"INSERT INTO tenants VALUES ('unlisted', '{TOKEN}0')")
        began = time.monotonic()
        assert all_tenants.status("/v23.0/me", tenant="unlisted") == 200
        took = time.monotonic() - began
        reads = statements() - before
        check("tenant_look_up_reads", reads, f"the first of one that is not listed read the table {reads} times, in {took * 1000:.0f} ms")
    measure_notification()


def send_to_each(proxy):
    """Sends a request for each tenant, 64 at a time. Returns the seconds that this took, and those of CPU."""
    connections = [socket.create_connection(("127.0.0.1", proxy.port), timeout=60) for _ in range(64)]
    began, cpu = time.monotonic(), proxy.cpu()
    for first in range(1, TENANTS + 1, len(connections)):
        pairs = list(zip(connections, range(first, TENANTS + 1)))
        for connection, number in pairs:
            connection.sendall(f"GET /v23.0/me HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Tenant-Id: t{number}\r\n\r\n".encode())
        for connection, number in pairs:
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 200, (number, response.status)
            response.read()
    took = time.monotonic() - began, proxy.cpu() - cpu
    for connection in connections:
        connection.close()
    return took


def measure_round_trips():
    """The place of the tokens is 80 ms away. The first look-up opens the connection that the others find open."""
    fill(TOKEN)
    names = [f"unlisted{number}" for number in range(10)]
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 28202), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    relays = [subprocess.Popen(["taskset", "-c", "1", "python3", "benches/relay.py", port, to_port, "0.04"])
              for port, to_port in (("28199", "28551"), ("28203", "28202"))]
    try:
        with Proxy(28201, place=f'{POSTGRES}:28199/postgres"') as proxy:
            for name in names:
                sql(f"INSERT INTO tenants VALUES ('{name}', '{TOKEN}0')")
            check_round_trips("tenant_look_up_trips", "the database", proxy, names)
        place = 'http = "http://127.0.0.1:28203/tenants/{tenant}/credentials/meta"\npointer = "/accessToken"'
        with Proxy(28204, query=None, place=place) as proxy:
            check_round_trips("tenant_service_trips", "the credential service", proxy, names)
    finally:
        for relay in relays:
            relay.kill()
            relay.wait()


def check_round_trips(budget, place, proxy, names):
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)

    def took(tenant):
        began = time.monotonic()
        assert proxy.status("/v23.0/me", tenant=tenant, connection=connection) == 200, tenant
        return time.monotonic() - began

    opened, *first = map(took, names)
    first, again = statistics.median(first), statistics.median(map(took, names))
    trips = (first - again) / 0.08
    check(budget, trips, f"80 ms from {place}, the first request of a tenant that is not listed takes {trips:.2f} round trips "
          f"({first * 1000:.0f} ms), the one that opens the connection {opened * 1000:.0f} ms")


class Service(http.server.BaseHTTPRequestHandler):
    """A credential service that has a token for each tenant."""
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

    def do_GET(self):
        body = json.dumps({"accessToken": f"{TOKEN}0"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def measure_notification():
    sql(f"UPDATE tenants SET token = '{OTHER_TOKEN}' || name")
    with Proxy(28192, more='listen = "tenants"') as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", 28192, timeout=60)
        for number in range(1, TENANTS + 1, 10):
            assert proxy.status("/v23.0/me", tenant=f"t{number}", connection=connection) == 401
        sql("ANALYZE tenants")
        before, cpu = statements(), proxy.cpu()
        sql(f"UPDATE tenants SET token = '{TOKEN}' || name; NOTIFY tenants")
        began = time.monotonic()
        for number in range(1, TENANTS + 1, 500):
            while proxy.status("/v23.0/me", tenant=f"t{number}", connection=connection) != 200:
                assert time.monotonic() < began + 60
        took = time.monotonic() - began
        reads = statements() - before
        check("notification_reads", reads, f"a notification with {TENANTS} new tokens: in use after {took * 1000:.0f} ms and "
              f"{proxy.cpu() - cpu:.2f} s of CPU, with {reads} reads of the table")


def count_instructions(port, query, tenants, token="verify = false"):
    runner = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={DIRECTORY}/tenants{port}"]
    with Proxy(port, query, token=token, runner=runner) as proxy:
        time.sleep(2)
        pid = str(proxy.process.pid)
        load = ["python3", "benches/load.py", str(port), "2048", "--tenants", str(tenants), "--after-warm-up", "callgrind_control", "--zero", pid]
        requests = int(subprocess.run(load, check=True, stdout=subprocess.PIPE).stdout)
        subprocess.run(["callgrind_control", "--dump", pid], check=True, stdout=subprocess.DEVNULL)
        dumps = (open(f"{DIRECTORY}/{name}").read() for name in os.listdir(DIRECTORY) if name.startswith(f"tenants{port}."))
        totals = (int(total) for dump in dumps for total in re.findall(r"^(?:summary|totals): (\d+)", dump, re.MULTILINE))
        return max(totals) / requests


def measure_instructions():
    fill(TOKEN)
    with open(f"{DIRECTORY}/token", "w") as file:
        file.write(f"{TOKEN}1")
    token = f'source = {{ file = "{DIRECTORY}/token" }}\nverify = false'
    # One sends the same requests to a process that reads no signs, and one sends them without the header.
    same, alone = count_instructions(28200, None, 256, token), count_instructions(28196, None, 0, token)
    one = count_instructions(28193, QUERY + " WHERE name = 't1'", 1)
    many = count_instructions(28194, QUERY, 256)
    check("tenant_instructions", many / same, f"{many:.0f} instructions per request with {TENANTS} tenants, {one:.0f} with one, {same:.0f} with "
          f"a token alone: ratio {many / same:.3f}")
    check("tenant_signs", many / alone, f"{alone:.0f} with a token alone and without the header: ratio {many / alone:.3f}")


def measure_cpu():
    """Kernel and all, in alternating rounds of the same requests, because the machine's load changes between rounds."""
    fill(TOKEN)
    with open(f"{DIRECTORY}/token", "w") as file:
        file.write(f"{TOKEN}1")

    def send(proxy, tenants):
        before = proxy.cpu()
        load = ["taskset", "-c", "1", "python3", "benches/load.py", str(proxy.port), "8192", "--tenants", str(tenants)]
        requests = int(subprocess.run(load, check=True, stdout=subprocess.PIPE).stdout)
        return (proxy.cpu() - before) / requests * 1e6

    rounds = []
    with Proxy(28197, None, token=f'source = {{ file = "{DIRECTORY}/token" }}\nverify = false') as alone, Proxy(28198) as many:
        for _ in range(int(os.environ.get("ROUNDS", 15))):
            rounds.append((send(alone, 1), send(many, 1), send(many, 256)))
    alone, one, several = (statistics.median(column) for column in zip(*rounds))
    ratio = statistics.median(one / alone for alone, one, _ in rounds)
    print(f"{several:.1f} us of CPU per request of 256 tenants in turn, whose data is less often in a cache")
    check("tenant_cpu", ratio, f"{one:.1f} us of CPU per request of one of {TENANTS} tenants, {alone:.1f} with a token alone: ratio {ratio:.3f}")


def control(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", 28554, timeout=60)
    connection.request(method, path, body and json.dumps(body))
    response = connection.getresponse()
    content = response.read()
    assert response.status == 200, content
    return json.loads(content)


def measure_renewals():
    """Each token is due at half of its time, within one minute; the other half is for the renewals, since an expired token is not renewed."""
    fake = ["taskset", "-c", "1", FAKE_GRAPH, "fake-graph", "--listen", "127.0.0.1:28553", "--control", "127.0.0.1:28554",
            "--ca-out", f"{DIRECTORY}/fake.pem", "--app-id", "1234567890123456"]
    with open(f"{DIRECTORY}/secret", "w") as file:
        file.write("0123456789abcdef0123456789abcdef")
    graph = subprocess.Popen(fake, stdout=subprocess.DEVNULL)
    try:
        while not os.path.exists(f"{DIRECTORY}/fake.pem"):
            time.sleep(0.1)
        time.sleep(1)
        for first in range(1, TENANTS + 1, 1000):
            control("POST", "/tokens", [{"token": f"{TOKEN}{number}", "app_id": "1234567890123456"} for number in range(first, first + 1000)])
        fill(TOKEN, "now() + interval '600 s' + random() * interval '120 s'")
        app = f'renew = {{ exchange = {{}} }}\nverify = false\n[app]\nid = "1234567890123456"\nsecret = {{ file = "{DIRECTORY}/secret" }}'
        update = 'update = "UPDATE tenants SET token = $1, expires_at = to_timestamp($3) WHERE name = $2"'
        with Proxy(28195, origin=28553, ca="fake.pem", token=app, more=update) as proxy:
            watch_renewals(proxy)
    finally:
        graph.kill()
        graph.wait()


def watch_renewals(proxy):
    count_locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted; SELECT pg_sleep(0.1); "
    count_renewed = "SELECT count(*) FROM tenants WHERE expires_at > now() + interval '1 day'"
    most_locks, renewed, most_renewed = 0, 0, 0
    began = started = time.monotonic()
    cpu = proxy.cpu()
    while renewed < TENANTS and time.monotonic() < began + 780:
        before, at = renewed, time.monotonic()
        *locks, renewed = map(int, sql(10 * count_locks + count_renewed).split())
        most_locks, most_renewed = max(most_locks, *locks), max(most_renewed, renewed - before)
        started = started if before else at
    print(f"{renewed} renewals in {time.monotonic() - started:.0f} s, at most {most_renewed} in a second, {proxy.cpu() - cpu:.1f} s of CPU")
    check("renewals_at_once", most_locks, f"at most {most_locks} at the same time")
    left, exchanges = TENANTS - renewed, control("GET", "/state")["counts"]["exchanges"]
    check("renewals_left", left, f"{left} tokens were not renewed")
    check("renewals_twice", exchanges - renewed, f"the fake Graph exchanged {exchanges} tokens for {renewed} renewals")


for step in STEPS:
    {"memory": measure_memory, "round_trips": measure_round_trips, "instructions": measure_instructions, "cpu": measure_cpu, "renewals": measure_renewals}[step]()
if exceeded:
    sys.exit(f"over budget: {', '.join(exceeded)}; see benches/budgets")
