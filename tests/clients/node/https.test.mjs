// Every library as its manual has it, with Graph's own addresses and a stale token. Only the process is set up: it trusts
// graphward's authority, and either a hosts file or a proxy leads it there.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";

import { open } from "./house.mjs";

const LIBRARIES = [
  "fetch",
  "axios",
  "facebook-nodejs-business-sdk",
  "fb",
  "fbgraph",
  "whatsapp-api-js",
  "great-detail-whatsapp",
];

const WAYS = {
  "by a hosts file": { preload: "./hosts.mjs", settings: (house) => ({ GRAPHWARD: house.proxy }) },
  "through a proxy": { preload: "./through-proxy.mjs", settings: (house) => ({ HTTPS_PROXY: house.proxy }) },
};

for (const [way, { preload, settings }] of Object.entries(WAYS)) {
  describe(`unmodified, ${way}`, () => {
    let house;
    before(async () => (house = await open({ tls: true })));
    after(() => house.close());
    beforeEach(() => house.control("/reset", {}));
    afterEach(() => house.onlyDroppedTokensWereSeen());

    for (const library of LIBRARIES) {
      test(`${library}, with a stale token: every usual call is answered`, async () => {
        const environment = { PATH: process.env.PATH, NODE_EXTRA_CA_CERTS: house.authority, ...settings(house) };
        const said = await app(["--import", preload, "app.mjs", library, await house.stale()], environment);
        await house.heard(JSON.parse(said));
      });
    }
  });
}

/** Runs an app of its own, and returns what it prints. */
async function app(args, env) {
  const child = spawn(process.execPath, args, { cwd: import.meta.dirname, env });
  let said = "";
  let errors = "";
  child.stdout.on("data", (text) => (said += text));
  child.stderr.on("data", (text) => (errors += text));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(errors);
  return said;
}
