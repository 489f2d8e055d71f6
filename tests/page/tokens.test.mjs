// The lives of tokens on the status page, and the messages of others, which are written as text.

import assert from "node:assert/strict";
import { once } from "node:events";
import { utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";

import { NARROW, WIDE, assertAccessible, closeWindow, context, harness, open, page, row } from "./window.mjs";
import { screenshotPath, sees, startHarness, text } from "./window.mjs";

describe("the status page of tokens with and without an end", () => {
  const days = (count) => count * 24 * 60 * 60 * 1000;
  const filled = (tenant) => row(tenant).locator(".bar rect").getAttribute("width").then(Number);
  let token;

  async function startWith(sections, prepare, app = "") {
    await startHarness({ prepare, more: `${app}[routing]\nheader = "X-Tenant-Id"\n${sections}` });
  }
  afterEach(async () => {
    await closeWindow();
    await harness.close();
  });

  test("shows the life of each from its issue, as Graph says", async () => {
    const prepare = async (folder, issue) => {
      for (const [name, properties] of Object.entries({
        half: { ttl: "240h", age: "240h" },
        short: { ttl: "3h", age: "1h" },
        endless: { ttl: "never" },
      })) {
        await writeFile(join(folder, name), await issue(properties), { mode: 0o600 });
      }
    };
    const section = (name) => `[tenants.${name}]\nsource = { file = "${name}" }\n`;
    const app = `[app]\nid = "1234567890123456"\nsecret = { file = "secret" }\n`;
    await startWith(["half", "short", "endless"].map(section).join(""), prepare, app);
    for (const colorScheme of ["light", "dark"]) {
      await context?.close();
      await open({ colorScheme, viewport: colorScheme === "dark" ? NARROW : WIDE });
      await sees(row("half"), "9 days left");
      await sees(row("half"), /issued \w+ \d+, \d+ends \w+ \d+, \d+/);
      const share = await filled("half");
      assert.ok(share > 45 && share < 50.1, share);
      await sees(row("short"), "Less than a day left");
      await sees(row("short"), /ends .*\d\d:\d\d/);
      await sees(row("endless"), "Never expires");
      assert.equal(await filled("endless"), 100);
      await assertAccessible();
      await page.screenshot({ path: await screenshotPath(`lives-${colorScheme}`), fullPage: true });
    }
  });

  test("shows the life of each from when it was first seen if Graph was not asked", async () => {
    const prepare = async (folder, issue) => {
      token = await issue();
      const json = { access_token: token, expires_at: new Date(Date.now() + days(15)).toISOString() };
      await writeFile(join(folder, "dated"), JSON.stringify(json), { mode: 0o600 });
      const written = new Date(Date.now() - days(5));
      await utimes(join(folder, "dated"), written, written);
      await writeFile(join(folder, "undated"), token, { mode: 0o600 });
    };
    const dated = `[tenants.dated]\nsource = { file = "dated", pointer = "/access_token" }\nverify = false\n`;
    const dead = `[tenants.none]\nsource = { file = "absent" }\n`;
    await startWith(`${dated}[tenants.undated]\nsource = { file = "undated" }\nverify = false\n${dead}`, prepare);
    await open();
    await sees(row("dated"), "14 days left");
    await sees(row("dated"), "first seen");
    const share = await filled("dated");
    assert.ok(share > 70 && share <= 75, share);
    await sees(row("undated"), "The end is unknown");
    assert.equal(await filled("undated"), 0);
    await sees(row("none"), "No token is in use.");
    assert.equal(await row("none").locator(".bar").count(), 0);
    await assertAccessible();
    await page.screenshot({ path: await screenshotPath("lives-unasked"), fullPage: true });
  });
});

describe("the status page of sources whose messages have markup in them", () => {
  const image = `<img src=x onerror=alert('run')>`;
  // Every character that a name may have.
  const name = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@-";
  let database;
  before(async () => {
    database = await refusingDatabase(image);
    const url = `postgres://user:secret@127.0.0.1:${database.address().port}/tokens?sslmode=disable`;
    const prepare = async (folder, issue) => {
      await writeFile(join(folder, image), await issue({ scopes: [image.replaceAll(" ", "/")] }), { mode: 0o600 });
      await writeFile(join(folder, "url"), url, { mode: 0o600 });
    };
    await startHarness({
      prepare,
      more: `
[app]
id = "1234567890123456"
secret = { file = "secret" }
[routing]
header = "X-Tenant-Id"
[tenants."${name}"]
source = { file = "${image}" }
[tenants.command]
source = { exec = ["sh", "-c", "echo \\"${image}\\" >&2; exit 1"] }
[tenants.row]
source = { postgres = { file = "url" }, query = "SELECT token FROM tokens", update = "UPDATE tokens SET token = $1" }
[tenants_from]
postgres = { file = "url" }
query = "SELECT tenant, token FROM tenants"
`,
    });
  });
  after(async () => {
    await harness.close();
    database.close();
  });
  afterEach(closeWindow);

  test("writes them as text, and names with every character", async () => {
    await open();
    await sees(text("#unread"), image);
    await sees(row("command"), image);
    await sees(row("row"), image);
    await sees(text("#events"), image);
    await row(name).locator("summary").click();
    await sees(row(name), /Where from.*<img src=x onerror=/);
    await sees(row(name), image.replaceAll(" ", "/"));
    await page.screenshot({ path: await screenshotPath("markup"), fullPage: true });
    await page.getByRole("button", { name: `Look now: ${name}`, exact: true }).click();
    await sees(text("#done"), `graphward has looked at the sources of ${name}.`);
    await page.getByRole("button", { name: `New token: ${name}`, exact: true }).click();
    await page.locator("#token").fill(await harness.issue());
    await page.getByRole("button", { name: "Use this token" }).click();
    await sees(text("#done"), `graphward uses the new token of ${name}.`);
    await page.getByRole("button", { name: "New token: row", exact: true }).click();
    await page.locator("#token").fill(await harness.issue());
    await page.getByRole("button", { name: "Use this token" }).click();
    await sees(text("#token-refused"), image);
    await assertAccessible();
    assert.equal(await page.locator("img, script:not([src])").count(), 0);
  });
});

/** Starts a database that refuses each connection with this message. */
async function refusingDatabase(message) {
  const fields = ["SFATAL", "VFATAL", "C28P01", `M${message}`].map((field) => `${field}\0`).join("");
  const body = Buffer.from(`${fields}\0`);
  const head = Buffer.from("E\0\0\0\0");
  head.writeInt32BE(body.length + 4, 1);
  const refuse = (socket) => socket.on("error", () => {}).once("data", () => socket.end(Buffer.concat([head, body])));
  const database = createServer(refuse).listen(0, "127.0.0.1");
  await once(database, "listening");
  return database;
}
