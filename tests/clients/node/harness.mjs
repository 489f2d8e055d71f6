// Runs a fake Graph and graphward in front of it, on free ports, with a folder of their own.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const TARGET = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../../target", import.meta.url));
const PROGRAM = process.env.GRAPHWARD ?? join(TARGET, "debug/graphward");

/** The app secret, which the fake Graph, graphward and libraries that make proofs share. */
export const SECRET = "0123456789abcdef0123456789abcdef";

/** Starts a harness. With `proof`, Graph requires an appsecret_proof, and graphward knows the secret. With `tls`,
 * graphward accepts HTTPS as well, with a CA of its own: `ca` is the path of its certificate. With `tenants`, the ids of each
 * by its name, they have a token each, which may act on these ids only; `tenantsFrom` is the place of their tokens if it is not
 * files. `prepare` writes further files, with a function that issues tokens; `more` is further configuration. `admin` is the
 * address of the admin listener, on any port. */
export async function start(options = {}) {
  const { proof = false, tls = false, tenants, tenantsFrom, prepare = () => {}, more = "", admin = "127.0.0.1" } = options;
  const harness = new Harness(await mkdtemp(join(tmpdir(), "graphward-clients-")), tenants, tenantsFrom);
  try {
    await writeFile(join(harness.folder, "secret"), SECRET);
    await harness.startGraph(proof ? ["--proof", "required"] : []);
    for (const name of Object.keys(tenants ?? { token: [] })) await harness.dropToken(name);
    if (tls) await harness.createCa();
    await prepare(harness.folder, (properties) => harness.issue(properties));
    await harness.startGraphward((tls ? TLS : "") + (proof ? APP : "") + more, admin);
    return harness;
  } catch (error) {
    await harness.close();
    throw error;
  }
}

class Harness {
  #children = [];
  #dropped = [];
  #control;
  #rejected;
  #tenants;
  #tenantsFrom;

  constructor(folder, tenants, tenantsFrom) {
    this.folder = folder;
    this.#tenants = tenants;
    this.#tenantsFrom = tenantsFrom;
  }

  async startGraph(more) {
    const args = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--ca-out", "ca.pem"];
    const waitForLines = this.#spawn(["fake-graph", ...args, ...more]);
    [this.graph, this.#control] = await waitForLines(/^graph +https:\/\/(.+)$/, /^control +(.+)$/);
  }

  async createCa() {
    await promisify(execFile)(PROGRAM, ["ca", "--out", join(this.folder, "tls")], { env: {} });
    this.ca = join(this.folder, "tls/ca.pem");
  }

  async startGraphward(more, admin) {
    const sources = tokens(this.#tenants, this.#tenantsFrom);
    await writeFile(join(this.folder, "graphward.toml"), config(this.graph, admin, sources, more));
    const waitForLines = this.#spawn(["serve"]);
    const address = (name) =>
      new RegExp(`"${name} listener started".*"address":"([^"]+)"|"address":"([^"]+)".*"${name} listener started"`);
    const [proxy, bound] = await waitForLines(address("proxy"), address("admin"));
    [this.proxy, this.admin] = [proxy, bound.replace("0.0.0.0", "127.0.0.1")];
  }

  #spawn(args) {
    const child = spawn(PROGRAM, args, { cwd: this.folder, env: {}, stdio: ["ignore", "pipe", "pipe"] });
    this.#children.push(child);
    return lineWaiter(child, args[0]);
  }

  /** Calls the control API of the fake Graph: GET without a body, else POST. */
  async control(path, body) {
    const init = body && { method: "POST", body: JSON.stringify(body) };
    const answer = await fetch(`${this.#control}${path}`, init);
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
    return answer.json();
  }

  /** Returns a fresh token that Graph knows and graphward does not. */
  async issue(properties = {}) {
    return (await this.control("/tokens", properties)).access_token;
  }

  /** Returns a token that has expired. */
  async issueExpired() {
    const token = await this.issue();
    await this.control("/tokens/expire", { token });
    return token;
  }

  /** Expires every token. */
  async expireAll() {
    this.#rejected = await this.#rejections();
    await this.control("/tokens/expire", { all: true });
  }

  /** Drops a new token once Graph has rejected the expired one. */
  async dropTokenOnceRejected() {
    for (let tries = 0; (await this.#rejections()) === this.#rejected; tries += 1) {
      assert.ok(tries < 1000, "no call used the expired token");
      await sleep(5);
    }
    await this.dropToken();
  }

  async #rejections() {
    return (await this.control("/state")).counts.rejected;
  }

  /** Renames a file with a fresh token to the path that graphward watches: that of the tenant `name`. */
  async dropToken(name = "token") {
    const token = await this.issue(this.#tenants && { name, targets: this.#tenants[name] });
    this.#dropped.push(token);
    await writeFile(join(this.folder, `${name}.new`), token, { mode: 0o600 });
    await rename(join(this.folder, `${name}.new`), join(this.folder, name));
    return token;
  }

  /** Fails if a call reached Graph with a token that was not dropped for graphward. */
  async assertOnlyDroppedTokensReachedGraph() {
    const dropped = this.#dropped.map((token) => createHash("sha256").update(token).digest("hex"));
    const { data } = await this.control("/calls");
    // graphward itself calls debug_token, which takes tokens as parameters.
    const calls = data.filter(({ target }) => !target.startsWith("/debug_token"));
    for (const { method, target, authorization, access_tokens: others, proof } of calls) {
      const call = `${method} ${target}`;
      assert.ok(dropped.some((hash) => hash.startsWith(authorization?.token)), call);
      assert.deepEqual(others, [], call);
      assert.notEqual(proof, "wrong", call);
    }
  }

  /** Fails unless Graph accepted exactly these messages (a text's body, a template's name), each once. */
  async assertAccepted(expected) {
    const { data } = await this.control("/messages");
    const accepted = data.map(({ params }) => params.text?.body ?? params.template.name);
    assert.deepEqual(accepted.sort(), [...expected].sort());
  }

  async close() {
    for (const child of this.#children) {
      if (child.exitCode !== null) continue;
      child.kill();
      await once(child, "exit");
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** The sections with the sources of tokens. */
function tokens(tenants, tenantsFrom) {
  if (!tenants) return `[token]\nsource = { file = "token" }\n`;
  if (tenantsFrom) return `[routing]\nheader = "X-Tenant-Id"\n[tenants_from]\n${tenantsFrom}\n`;
  const sections = Object.entries(tenants).map(
    ([name, ids]) => `[tenants.${name}]\nids = ${JSON.stringify(ids)}\nsource = { file = "${name}" }\n`,
  );
  return `[routing]\nheader = "X-Tenant-Id"\n${sections.join("")}`;
}

function config(graph, admin, tokens, more) {
  return `
listen.proxy = "127.0.0.1:0"
listen.admin = "${admin}:0"
[upstream]
ca_file = "ca.pem"
connect_to = { "graph.facebook.com" = "${graph}", "lookaside.fbsbx.com" = "${graph}" }
${tokens}
[links]
paging = true
# Long enough on a slow machine too.
[heal]
hold_timeout = "30s"
${more}`;
}

const TLS = `
[listen.tls]
cert = "tls/cert.pem"
key = "tls/key.pem"
`;

const APP = `
[app]
secret = { file = "secret" }
`;

/** Returns a function that waits for lines of the child's output, one for each pattern, and returns what the patterns'
 * groups matched. */
function lineWaiter(child, name) {
  const lines = [];
  let errors = "";
  child.stderr.on("data", (text) => (errors += text));
  const output = createInterface({ input: child.stdout });
  output.on("line", (line) => lines.push(line));
  const find = (pattern) => lines.map((line) => pattern.exec(line)).find(Boolean)?.slice(1).find(Boolean);
  return (...patterns) =>
    new Promise((resolve, reject) => {
      const check = () => {
        const found = patterns.map(find);
        if (found.every(Boolean)) resolve(found);
      };
      output.on("line", check);
      child.once("exit", () => reject(new Error(`${name} ended: ${errors} ${lines.join("\n")}`)));
      child.once("error", reject);
    });
}
