// What every library has to do behind graphward. A library says how it does each usual call; what it lacks is left out.
//
//   text(words), template(name)   send a message
//   upload(bytes) -> id           media …
//   download(id) -> bytes         … and back, through the URL on Graph's media host
//   list() -> names               all templates, page after page
//   batch(list of words)          several texts in one call

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { SECRET, open } from "./house.mjs";

export const PHONE = "106540352242922";
export const BUSINESS = "102290129340398";
export const TO = "15550100200";

/** Messages as Graph takes them, for libraries that have no words of their own for them. */
export const text = (body) => ({ messaging_product: "whatsapp", to: TO, type: "text", text: { body } });
export const template = (name) => ({
  messaging_product: "whatsapp",
  to: TO,
  type: "template",
  template: { name, language: { code: "en_US" } },
});

/** The item of a batch that sends a text. */
export const item = (words, more = "") => ({
  method: "POST",
  relative_url: `${PHONE}/messages`,
  body: `messaging_product=whatsapp&to=${TO}&type=text&text=${encodeURIComponent(JSON.stringify({ body: words }))}${more}`,
});

const FILE = Buffer.from("%PDF-1.7 \r\n--\u0000\u00ff access_token=mine", "latin1");

/** Registers a library's tests. `connect(house, token, secret)` sets it up and returns its calls. */
export function behindGraphward(library, connect) {
  describe(library, () => {
    let house;
    before(async () => (house = await open()));
    after(() => house.close());
    beforeEach(() => house.control("/reset", {}));
    afterEach(() => house.onlyDroppedTokensWereSeen());

    test("with a placeholder for a token, every usual call is answered", async () => {
      await doEverything(house, connect(house, "unused"));
    });

    test("with a stale token of its own, every usual call is answered", async () => {
      await doEverything(house, connect(house, await house.stale()));
    });

    test("across an expiry, healed by a file drop, every message arrives once", async () => {
      const client = connect(house, "unused");
      const words = Array.from({ length: 40 }, (_, n) => `healed ${n}`);
      let sent = 0;
      await eachOf(4, words, async (words) => {
        await client.text(words);
        sent += 1;
        if (sent === 10) await renew(house); // the others go on meanwhile
      });
      assert.deepEqual((await house.heard()).sort(), words.sort());
    });

    test("a dead token is healed under each usual call", async () => {
      const client = connect(house, "unused");
      const dead = async (call) => {
        await house.expire();
        const [answer] = await Promise.all([call(), sleep(50).then(() => house.drop())]);
        return answer;
      };
      await doEverything(house, client, dead);
    });

    test("where the app demands proofs, every usual call has the right one", async () => {
      const strict = await open({ proof: true });
      try {
        await doEverything(strict, connect(strict, await strict.stale(), SECRET));
        await strict.onlyDroppedTokensWereSeen();
      } finally {
        await strict.close();
      }
    });
  });
}

/** Does all usual calls, and looks at what came of them. `doing` may do something around each. */
async function doEverything(house, client, doing = (call) => call()) {
  const said = ["a text", "a_template"];
  await doing(() => client.text("a text"));
  await doing(() => client.template("a_template"));
  if (client.batch) {
    const words = ["one & one", "two + two", "drei \u00d7 \u{1F600}"];
    await doing(() => client.batch(words));
    said.push(...words);
  }
  if (client.upload) {
    const id = await doing(() => client.upload(FILE));
    const bytes = await doing(() => client.download(id));
    assert.deepEqual(Buffer.from(bytes), FILE);
  }
  if (client.list) {
    const names = await doing(() => client.list());
    assert.deepEqual(names, Array.from({ length: 57 }, (_, n) => `fake_template_${n}`));
  }
  assert.deepEqual((await house.heard()).sort(), said.sort());
}

/** The token dies, and a little later there is a new one. */
async function renew(house) {
  await house.expire();
  await sleep(50);
  await house.drop();
}

/** Works through a list, so many at a time. */
async function eachOf(hands, list, work) {
  const left = [...list];
  const hand = async () => {
    while (left.length > 0) await work(left.shift());
  };
  await Promise.all(Array.from({ length: hands }, hand));
}
