// What these tests live in: a fake Graph and a graphward before it, on free ports, with files of their own.

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

const PROGRAM =
  process.env.GRAPHWARD ?? fileURLToPath(new URL("../../../target/debug/graphward", import.meta.url));

/** The app's secret, of the fake Graph, of graphward and of libraries that make proofs. */
export const SECRET = "0123456789abcdef0123456789abcdef";

/** Opens a house. With `proof`, Graph takes no call without an appsecret_proof, and graphward knows the secret. With `tls`,
 * graphward speaks HTTPS as well, by an authority of its own: `authority` is its file. */
export async function open({ proof = false, tls = false } = {}) {
  const house = new House(await mkdtemp(join(tmpdir(), "graphward-clients-")));
  try {
    await writeFile(join(house.place, "secret"), SECRET);
    await house.startGraph(proof ? ["--proof", "required"] : []);
    await house.drop();
    if (tls) await house.makeAuthority();
    await house.startGraphward((tls ? TLS : "") + (proof ? APP : ""));
    return house;
  } catch (error) {
    await house.close();
    throw error;
  }
}

class House {
  #children = [];
  #dropped = [];
  #control;
  #graph;
  #rejected;

  constructor(place) {
    this.place = place;
  }

  async startGraph(more) {
    const args = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--ca-out", "ca.pem"];
    const graph = this.#start(["fake-graph", ...args, ...more]);
    [this.#graph, this.#control] = await graph.said(/^graph +https:\/\/(.+)$/, /^control +(.+)$/);
  }

  async makeAuthority() {
    await promisify(execFile)(PROGRAM, ["ca", "--out", join(this.place, "tls")], { env: {} });
    this.authority = join(this.place, "tls/ca.pem");
  }

  async startGraphward(more) {
    await writeFile(join(this.place, "graphward.toml"), settings(this.#graph, more));
    const graphward = this.#start(["serve"]);
    const address = (message) => new RegExp(`"${message}".*"address":"([^"]+)"|"address":"([^"]+)".*"${message}"`);
    [this.admin, this.proxy] = await graphward.said(address("listening for operators"), address("listening for the app"));
    this.log = graphward.lines;
  }

  #start(args) {
    const child = spawn(PROGRAM, args, { cwd: this.place, env: {}, stdio: ["ignore", "pipe", "pipe"] });
    this.#children.push(child);
    return watched(child, args[0]);
  }

  /** Asks the fake Graph's control API, or tells it something. */
  async control(path, body) {
    const init = body && { method: "POST", body: JSON.stringify(body) };
    const answer = await fetch(`${this.#control}${path}`, init);
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
    return answer.json();
  }

  /** A fresh token that Graph knows and graphward does not. */
  async issue() {
    return (await this.control("/tokens", {})).access_token;
  }

  /** A token that Graph knew. */
  async stale() {
    const token = await this.issue();
    await this.control("/tokens/expire", { token });
    return token;
  }

  /** Every token that there is dies. */
  async expire() {
    this.#rejected = await this.#rejections();
    await this.control("/tokens/expire", { all: true });
  }

  /** When Graph has rejected a dead token, there is a new one. */
  async dropOnceRejected() {
    for (let tries = 0; (await this.#rejections()) === this.#rejected; tries += 1) {
      assert.ok(tries < 1000, "nobody came with the dead token");
      await sleep(5);
    }
    await this.drop();
  }

  async #rejections() {
    return (await this.control("/state")).counts.rejected;
  }

  /** Puts a fresh token where graphward looks, whole or not at all. */
  async drop() {
    const token = await this.issue();
    this.#dropped.push(token);
    await writeFile(join(this.place, "token.new"), token, { mode: 0o600 });
    await rename(join(this.place, "token.new"), join(this.place, "token"));
  }

  /** Fails if a call of the app's reached Graph with a token that was not dropped for graphward. */
  async onlyDroppedTokensWereSeen() {
    const dropped = this.#dropped.map((token) => createHash("sha256").update(token).digest("hex"));
    const { data } = await this.control("/calls");
    // What a token is worth is graphward's own question.
    const calls = data.filter(({ target }) => !target.startsWith("/debug_token"));
    for (const { method, target, authorization, access_tokens: others, proof } of calls) {
      const call = `${method} ${target}`;
      assert.ok(dropped.some((hash) => hash.startsWith(authorization?.token)), call);
      assert.deepEqual(others, [], call);
      assert.notEqual(proof, "wrong", call);
    }
  }

  /** Fails unless Graph accepted just these messages (a text's words, a template's name), each once. */
  async heard(words) {
    const { data } = await this.control("/messages");
    const heard = data.map(({ said }) => said.text?.body ?? said.template.name);
    assert.deepEqual(heard.sort(), [...words].sort());
  }

  async close() {
    for (const child of this.#children) {
      if (child.exitCode !== null) continue;
      child.kill();
      await once(child, "exit");
    }
    await rm(this.place, { recursive: true });
  }
}

function settings(graph, more) {
  return `
listen.proxy = "127.0.0.1:0"
listen.admin = "127.0.0.1:0"
[upstream]
ca_file = "ca.pem"
connect_to = { "graph.facebook.com" = "${graph}", "lookaside.fbsbx.com" = "${graph}" }
[token]
source = { file = "token" }
[links]
paging = true
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

/** A child whose output is read. `said` waits for lines, one for each pattern, and returns what they say. */
function watched(child, name) {
  const lines = [];
  let errors = "";
  child.stderr.on("data", (text) => (errors += text));
  const output = createInterface({ input: child.stdout });
  output.on("line", (line) => lines.push(line));
  const find = (pattern) => lines.map((line) => pattern.exec(line)).find(Boolean)?.slice(1).find(Boolean);
  const said = (...patterns) =>
    new Promise((resolve, reject) => {
      const look = () => {
        const found = patterns.map(find);
        if (found.every(Boolean)) resolve(found);
      };
      output.on("line", look);
      child.once("exit", () => reject(new Error(`${name} ended: ${errors} ${lines.join("\n")}`)));
      child.once("error", reject);
    });
  return { lines, said };
}
