// The consumer of a queue, whose messages name a tenant and a phone number: before, with a tenant service, and after, with
// graphward in its place. docs/tenants.md shows the difference of the two programs.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";

import { start } from "./harness.mjs";

const TENANTS = { acme: ["101"], shop: ["201"] };

/** Where graphward has the tokens from: files beside its configuration, or the tenant service that the consumer asked before. */
const PLACES = {
  files: () => undefined,
  "its tenant service": (service) =>
    `http = "${service.address}/tenants/{tenant}/credentials/meta"\npointer = "/accessToken"`,
};

const message = (tenantId, phoneNumberId, text) => ({
  metadata: { tenantId },
  phoneNumberId,
  to: "15550100200",
  text,
});
const good = [message("acme", "101", "one"), message("shop", "201", "two"), message("acme", "101", "three")];

for (const [place, tenantsFrom] of Object.entries(PLACES)) {
  describe(`the consumer of a queue, and graphward with tokens from ${place}`, () => {
    let harness;
    let service;
    beforeEach(async () => {
      service = await TenantService.start();
      harness = await start({ tenants: TENANTS, tenantsFrom: tenantsFrom(service) });
      for (const name of Object.keys(TENANTS)) await replaceToken(name);
    });
    afterEach(async () => {
      service.close();
      await harness.close();
    });

    async function replaceToken(name) {
      service.tokens[name] = await harness.dropToken(name);
    }

    /** Runs a program with these messages; returns what became of each: the kind, and the code of an error. */
    async function consume(program, messages) {
      const direct = { GRAPHWARD: `https://${harness.graph}`, NODE_EXTRA_CA_CERTS: join(harness.folder, "ca.pem") };
      const environment = {
        before: { ...direct, TENANT_SERVICE_URL: service.address },
        after: { GRAPH_URL: harness.proxy },
      };
      const preload = program === "before" ? ["--import", "./hosts.mjs"] : [];
      const options = { cwd: import.meta.dirname, env: { PATH: process.env.PATH, ...environment[program] } };
      const child = spawn(process.execPath, [...preload, `consumer/${program}.mjs`], options);
      let output = "";
      let errors = "";
      child.stdout.on("data", (text) => (output += text));
      child.stderr.on("data", (text) => (errors += text));
      child.stdin.end(messages.map((message) => `${JSON.stringify(message)}\n`).join(""));
      const [code] = await once(child, "close");
      assert.equal(code, 0, errors);
      const results = output.trim().split("\n").map((line) => Object.entries(JSON.parse(line))[0]);
      return results.map(([kind, text]) => (kind === "deadLetter" ? `${kind} ${text.split(":")[0]}` : kind));
    }

    /** Counts the pairs of a token and an object that came to Graph: those that belong together, and the others. */
    async function uses() {
      const { data, violations } = await harness.control("/objects");
      return { right: data.length - violations.length, wrong: violations.length };
    }

    test("before: each message costs a call of the tenant service", async () => {
      assert.deepEqual(await consume("before", good), ["sent", "sent", "sent"]);
      await harness.assertAccepted(["one", "two", "three"]);
      assert.equal(service.calls, 3);
    });

    test("after: the same messages are sent with the same tokens, and the tenant service is called once a tenant at most", async () => {
      assert.deepEqual(await consume("after", good), ["sent", "sent", "sent"]);
      await harness.assertAccepted(["one", "two", "three"]);
      assert.equal(service.calls, place === "files" ? 0 : 2);
      assert.deepEqual(await uses(), { right: 2, wrong: 0 });
      await harness.assertOnlyDroppedTokensReachedGraph();
    });

    const mixedUp = [message("acme", "201", "of shop"), message("acme", "101", "of acme")];

    test("before: a message whose tenant and number were mixed up goes to Graph with the wrong token", async () => {
      assert.deepEqual(await consume("before", mixedUp), ["deadLetter 100", "sent"]);
      assert.deepEqual(await uses(), { right: 1, wrong: 1 });
    });

    test("after: it becomes a dead letter, before it is sent if graphward knows the numbers; the next one is sent", async () => {
      // The service tells no numbers, so that Graph refuses it.
      const [code, wrong] = place === "files" ? [990027, 0] : [100, 1];
      assert.deepEqual(await consume("after", mixedUp), [`deadLetter ${code}`, "sent"]);
      await harness.assertAccepted(["of acme"]);
      assert.deepEqual(await uses(), { right: 1, wrong });
    });

    test("after: a message of an unknown tenant, or of none, becomes a dead letter", async () => {
      const unknown = [message("acmee", "101", "x"), message(undefined, "101", "y"), message("", "101", "z")];
      assert.deepEqual(await consume("before", unknown), ["retry", "retry", "retry"]);
      const codes = await consume("after", unknown);
      assert.deepEqual(codes, ["deadLetter 990025", "deadLetter 990025", "deadLetter 990025"]);
      await harness.assertAccepted([]);
    });

    if (place !== "files")
      test("after: a message of a tenant that has no token becomes a dead letter, and no other", async () => {
        service.tokens.acme = null;
        assert.deepEqual(await consume("after", good), ["deadLetter 990023", "sent", "deadLetter 990023"]);
        await harness.assertAccepted(["two"]);
      });

    test("a token that dies: before, messages become dead letters; after, they are sent with the next one", async () => {
      assert.deepEqual(await consume("after", good), ["sent", "sent", "sent"]);
      await harness.expireAll();
      assert.deepEqual(await consume("before", good), ["deadLetter 190", "deadLetter 190", "deadLetter 190"]);
      const [outcomes] = await Promise.all([
        consume("after", [message("acme", "101", "healed")]),
        replaceToken("acme"),
      ]);
      assert.deepEqual(outcomes, ["sent"]);
      await harness.assertAccepted(["one", "two", "three", "healed"]);
    });

    test("after: what may succeed later is tried again", async () => {
      await harness.control("/faults", { kind: "error", code: 2, times: 1 });
      assert.deepEqual(await consume("after", good.slice(0, 1)), ["retry"]);
      await harness.close();
      assert.deepEqual(await consume("after", good.slice(0, 1)), ["retry"], "nothing listens");
    });
  });
}

/** `GET /tenants/{id}/credentials/meta` */
class TenantService {
  calls = 0;
  tokens = {};

  static async start() {
    const service = new TenantService();
    service.server = createServer((request, answer) => {
      const [, root, name, ...rest] = request.url.split("/");
      const isKnown = [root, ...rest].join("/") === "tenants/credentials/meta" && name in service.tokens;
      service.calls += 1;
      answer.writeHead(isKnown ? 200 : 404, { "Content-Type": "application/json" });
      answer.end(JSON.stringify(isKnown ? { accessToken: service.tokens[name] } : { error: "unknown tenant" }));
    });
    service.server.listen(0, "127.0.0.1");
    await once(service.server, "listening");
    service.address = `http://127.0.0.1:${service.server.address().port}`;
    return service;
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
