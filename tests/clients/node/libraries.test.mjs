// Every library, pointed at graphward by its recipe.

import { after, afterEach, before, beforeEach, describe, test } from "node:test";

import { makeEveryCall } from "./calls.mjs";
import { SECRET, start } from "./harness.mjs";

const LIBRARIES = [
  "fetch",
  "axios",
  "facebook-nodejs-business-sdk",
  "fbgraph",
  "whatsapp-api-js",
  "great-detail-whatsapp",
];

for (const library of LIBRARIES) {
  describe(library, async () => {
    const { default: connect } = await import(`./libraries/${library}.mjs`);
    let harness;
    before(async () => (harness = await start()));
    after(() => harness.close());
    beforeEach(() => harness.control("/reset", {}));
    afterEach(() => harness.assertOnlyDroppedTokensReachedGraph());

    test("with a placeholder as the token, every usual call is answered", async () => {
      await harness.assertAccepted(await makeEveryCall(connect(harness.proxy, "unused")));
    });

    test("with an expired token of its own, every usual call is answered", async () => {
      await harness.assertAccepted(await makeEveryCall(connect(harness.proxy, await harness.issueExpired())));
    });

    test("across an expiry, healed by a file drop, every message arrives once", async () => {
      const client = connect(harness.proxy, "unused");
      const bodies = Array.from({ length: 40 }, (_, n) => `message ${n}`);
      let sent = 0;
      await forEachWith(4, bodies, async (body) => {
        await client.text(body);
        sent += 1;
        if (sent !== 10) return;
        await harness.expireAll(); // the other workers go on sending
        await harness.dropTokenOnceRejected();
      });
      await harness.assertAccepted(bodies);
    });

    test("an expired token is healed under every usual call", async () => {
      const healed = async (call) => {
        await harness.expireAll();
        const [answer] = await Promise.all([call(), harness.dropTokenOnceRejected()]);
        return answer;
      };
      await harness.assertAccepted(await makeEveryCall(connect(harness.proxy, "unused"), healed));
    });

    test("where Graph requires proofs, every usual call has the right one", async () => {
      const strict = await start({ proof: true });
      try {
        await strict.assertAccepted(await makeEveryCall(connect(strict.proxy, await strict.issueExpired(), SECRET)));
        await strict.assertOnlyDroppedTokensReachedGraph();
      } finally {
        await strict.close();
      }
    });
  });
}

/** Calls `work` for each item of a list, `concurrency` at a time. */
async function forEachWith(concurrency, list, work) {
  const left = [...list];
  const worker = async () => {
    while (left.length > 0) await work(left.shift());
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}
