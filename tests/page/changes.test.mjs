// Changes through the status page that are given up, or for which graphward asks for another key.

import assert from "node:assert/strict";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";

import { NARROW, assertAccessible, closeWindow, harness, open, page, screenshotPath, sees } from "./window.mjs";
import { startHarness, text } from "./window.mjs";

const APP = `[app]\nid = "1234567890123456"\nsecret = { file = "secret" }\n`;
const [KEY, NEXT_KEY] = ["a-key-of-the-operator", "the-next-key-of-the-operator"];

const button = (name) => page.getByRole("button", { name });

/** Opens the form for a token, fills in a new one, and sends it. Returns the requests that put one. */
async function sendToken() {
  const sent = [];
  page.on("request", (request) => request.method() === "PUT" && sent.push(request));
  await button("New token").click();
  await page.locator("#token").fill(await harness.issue());
  await button("Use this token").click();
  return sent;
}

async function closeAll() {
  try {
    await closeWindow();
  } finally {
    await harness.close();
  }
}

describe("a change that the operator gives up", () => {
  beforeEach(() => startHarness({ more: APP }));
  afterEach(closeAll);

  for (const [how, giveUp] of [
    ["with Cancel", () => button("Cancel").click()],
    ["with Esc", () => page.keyboard.press("Escape")],
  ]) {
    test(`${how} while Graph is asked ends with the form, and the next one has its own`, async () => {
      await open({ viewport: NARROW });
      await sees(text("#tenants li"), "usable");
      // Graph never answers about the first token.
      await harness.control("/faults", { kind: "hang", on: "debug_token" });
      const [{ length }, ended] = [await sendToken(), page.waitForEvent("requestfailed")];
      assert.equal(length, 1);
      await sees(text("#token-submit"), "Checking");
      await giveUp();
      assert.equal((await ended).method(), "PUT");
      await sees(text("#refused"), "The change was given up before graphward answered.");
      assert.equal(await page.locator("#token-dialog").isVisible(), false);
      await assertAccessible();
      await button("New token").click();
      assert.equal(await page.locator("#token").inputValue(), "");
      assert.equal(await page.locator("#token-refused").isVisible(), false);
      await page.locator("#token").fill(await harness.issue());
      await button("Use this token").click();
      await sees(text("#done"), "graphward uses the new token of default.");
      assert.equal(await page.locator("#refused").isVisible(), false);
    });
  }
});

describe("the status page whose key changes", () => {
  beforeEach(async () => {
    const prepare = (folder) => writeFile(join(folder, "key"), KEY);
    await startHarness({ prepare, more: `[admin]\nkey = { file = "key" }\n` });
  });
  afterEach(closeAll);

  const status = async (key) => {
    const headers = { Authorization: `Bearer ${key}` };
    const answer = await fetch(`${harness.admin}/admin/token-status`, { headers });
    return answer.ok ? (await answer.json()).tenants[0].fingerprint : undefined;
  };

  async function enter(key) {
    await page.locator("#key").fill(key);
    await button("Use the key").click();
  }

  test("asks for the next one above the form for a token, which it does not send after that", async () => {
    await open({ viewport: NARROW });
    await enter(KEY);
    await sees(text("#tenants li"), "usable");
    const before = await status(KEY);
    // The page reads nothing meanwhile: the token is what the next key is asked for.
    await page.evaluate(() => Object.defineProperty(document, "hidden", { value: true }));
    await writeFile(join(harness.folder, "key.new"), NEXT_KEY);
    await rename(join(harness.folder, "key.new"), join(harness.folder, "key"));
    while (!(await status(NEXT_KEY))) await page.waitForTimeout(20);
    const sent = await sendToken();
    await sees(text("#problem"), "graphward does not accept this key.");
    assert.equal(await page.locator("#token-dialog").isVisible(), false);
    await assertAccessible();
    await page.screenshot({ path: await screenshotPath("next-key"), fullPage: true });
    await enter(NEXT_KEY);
    await sees(text("#refused"), "The change was given up before graphward answered.");
    // What was asked for before this has been sent by now.
    await button("Look now: default").click();
    await sees(text("#done"), "graphward has looked");
    assert.equal(sent.length, 1);
    assert.equal(await status(NEXT_KEY), before);
  });

  test("does not take what cannot be a key for silence of graphward", async () => {
    await open();
    for (const wrong of ["ключ-оператора-graphward", "a key of the operator"]) {
      await enter(wrong);
      await sees(text("#problem"), "graphward does not accept this key.");
      assert.ok(await page.locator("#key").isVisible());
    }
    await enter(KEY);
    await sees(text("#tenants li"), "usable");
  });
});
