// Every library as its manual shows it, with Graph's own addresses and an expired token. Only the environment of the process
// changes: it trusts graphward's CA, and a hosts file or a proxy leads it to graphward.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";

import { start } from "./harness.mjs";

const LIBRARIES = [
  "fetch",
  "axios",
  "facebook-nodejs-business-sdk",
  "fb",
  "fbgraph",
  "whatsapp-api-js",
  "great-detail-whatsapp",
];

const ROUTES = {
  "by a hosts file": { preload: "./hosts.mjs", environment: (harness) => ({ GRAPHWARD: harness.proxy }) },
  "through a proxy": { preload: "./through-proxy.mjs", environment: (harness) => ({ HTTPS_PROXY: harness.proxy }) },
};

for (const [route, { preload, environment }] of Object.entries(ROUTES)) {
  describe(`unmodified, ${route}`, () => {
    let harness;
    before(async () => (harness = await start({ tls: true })));
    after(() => harness.close());
    beforeEach(() => harness.control("/reset", {}));
    afterEach(() => harness.assertOnlyDroppedTokensReachedGraph());

    for (const library of LIBRARIES) {
      test(`${library}, with an expired token: every usual call is answered`, async () => {
        const env = { PATH: process.env.PATH, NODE_EXTRA_CA_CERTS: harness.ca, ...environment(harness) };
        const sent = await runApp(["--import", preload, "app.mjs", library, await harness.issueExpired()], env);
        await harness.assertAccepted(JSON.parse(sent));
      });
    }
  });
}

/** Runs an app in a process of its own, and returns what it prints. */
async function runApp(args, env) {
  const child = spawn(process.execPath, args, { cwd: import.meta.dirname, env });
  let output = "";
  let errors = "";
  child.stdout.on("data", (text) => (output += text));
  child.stderr.on("data", (text) => (errors += text));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(errors);
  return output;
}
