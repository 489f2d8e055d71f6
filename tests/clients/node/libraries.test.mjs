// Every library, pointed at graphward by its recipe.

import { after, afterEach, before, beforeEach, describe, test } from "node:test";

import { doEverything } from "./calls.mjs";
import { SECRET, open } from "./house.mjs";

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
    let house;
    before(async () => (house = await open()));
    after(() => house.close());
    beforeEach(() => house.control("/reset", {}));
    afterEach(() => house.onlyDroppedTokensWereSeen());

    test("with a placeholder for a token, every usual call is answered", async () => {
      await house.heard(await doEverything(connect(house.proxy, "unused")));
    });

    test("with a stale token of its own, every usual call is answered", async () => {
      await house.heard(await doEverything(connect(house.proxy, await house.stale())));
    });

    test("across an expiry, healed by a file drop, every message arrives once", async () => {
      const client = connect(house.proxy, "unused");
      const words = Array.from({ length: 40 }, (_, n) => `message ${n}`);
      let sent = 0;
      await eachOf(4, words, async (words) => {
        await client.text(words);
        sent += 1;
        if (sent !== 10) return;
        await house.expire(); // the others go on meanwhile
        await house.dropOnceRejected();
      });
      await house.heard(words);
    });

    test("a dead token is healed under every usual call", async () => {
      const healed = async (call) => {
        await house.expire();
        const [answer] = await Promise.all([call(), house.dropOnceRejected()]);
        return answer;
      };
      await house.heard(await doEverything(connect(house.proxy, "unused"), healed));
    });

    test("where the app demands proofs, every usual call has the right one", async () => {
      const strict = await open({ proof: true });
      try {
        await strict.heard(await doEverything(connect(strict.proxy, await strict.stale(), SECRET)));
        await strict.onlyDroppedTokensWereSeen();
      } finally {
        await strict.close();
      }
    });
  });
}

/** Works through a list, so many at a time. */
async function eachOf(hands, list, work) {
  const left = [...list];
  const hand = async () => {
    while (left.length > 0) await work(left.shift());
  };
  await Promise.all(Array.from({ length: hands }, hand));
}
