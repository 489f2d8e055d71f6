// The status page in Chromium, against graphward in front of the fake Graph.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";

import { NARROW, WIDE, assertAccessible, closeWindow, context, forget, harness, open, page } from "./window.mjs";
import { screenshotPath, sees, startHarness, text } from "./window.mjs";

const MARKUP = `<img src=x onerror="alert('run')"><script>alert('run')</script>`;

describe("the status page of one token", () => {
  // With the app's id and secret, graphward asks Graph when the token ends.
  const more = `[app]\nid = "1234567890123456"\nsecret = { file = "secret" }\n`;
  beforeEach(() => startHarness({ more }));
  afterEach(async () => {
    try {
      await closeWindow();
    } finally {
      await harness.close();
    }
  });

  const call = () => fetch(`${harness.proxy}/v25.0/me`).then((response) => response.text());

  for (const colorScheme of ["light", "dark"]) {
    test(`is accessible and fits into any window in the ${colorScheme} scheme`, async () => {
      await harness.control("/usage", { "x-app-usage": { call_count: 93 } });
      await call();
      const body = JSON.stringify({ access_token: await harness.issue({ ttl: "119h" }) });
      const headers = { "Graphward-Admin": "yes" };
      assert.ok((await fetch(`${harness.admin}/admin/token`, { method: "PUT", headers, body })).ok);
      for (const viewport of [WIDE, NARROW]) {
        await context?.close();
        await open({ viewport, colorScheme });
        await sees(text("#tenants li"), "4 days left");
        await sees(text("#usage"), "93 %");
        await page.locator("summary").click();
        await sees(text("dl"), "Fingerprint");
        await sees(text("dl"), "Issued");
        await assertAccessible();
        await page.screenshot({ path: await screenshotPath(`${colorScheme}-${viewport.width}`), fullPage: true });
        await page.getByRole("button", { name: "New token" }).click();
        await assertAccessible();
      }
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.equal(ground, colorScheme === "dark" ? "rgb(17, 21, 28)" : "rgb(246, 247, 249)");
    });
  }

  test("shows the requests of the last hour, to those who open it later too", async () => {
    await call();
    await harness.expireAll();
    const [healed] = await Promise.all([call(), harness.dropTokenOnceRejected()]);
    assert.ok(!healed.includes("error"), healed);
    const [refused] = await once(request(`${harness.proxy}/v25.0/me`, { method: "TRACE" }).end(), "response");
    refused.resume();
    assert.equal(refused.statusCode, 405);
    await open();
    for (let turn = 0; turn < 2; turn += 1) {
      await sees(text("figure.requests strong"), /^3$/);
      await sees(text("figure.healed strong"), /^1$/);
      await sees(text("figure.refused strong"), /^1$/);
      await page.reload();
    }
  });

  test("follows the token, and what happens to it", async () => {
    await open();
    await sees(text("#tenants li"), "usable");
    await sees(text("#no-usage"), "Graph has not reported a rate limit yet.");
    await sees(text("#events"), "loaded");
    await harness.expireAll();
    const held = call();
    await sees(text("#tenants li"), "no usable token");
    await sees(text("#tenants .advice"), "What to do:");
    await sees(text("#events"), "rejected");
    await harness.dropToken();
    await sees(text("#tenants .badge"), /^usable$/);
    await held;
  });

  test("shows in what a new token differs from the current one, and replaces it if the operator insists", async () => {
    await open();
    await page.getByRole("button", { name: "New token" }).click();
    const [force, submit] = ["Replace anyway", "Use this token"].map((name) => page.getByRole("button", { name }));
    const other = await harness.issue({ kind: "page" });
    await page.locator("#token").fill(other);
    assert.equal(await force.isVisible(), false);
    await submit.click();
    await sees(text("#token-refused"), "kind: page (current: system user)");
    await assertAccessible();
    // What the operator types next is compared before it is forced.
    await page.locator("#token").fill("placeholder");
    assert.equal(await force.isVisible(), false);
    await page.locator("#token").fill(other);
    await submit.click();
    await force.click();
    await sees(text("#done"), "graphward uses the new token of default.");
  });

  test("takes a new token, and says why it does not take one", async () => {
    await open();
    await page.getByRole("button", { name: "New token" }).click();
    await page.locator("#token").fill("placeholder");
    await page.getByRole("button", { name: "Use this token" }).click();
    await page.locator("#token-refused").waitFor();
    await page.locator("#token").fill(await harness.issue());
    await page.getByRole("button", { name: "Use this token" }).click();
    await sees(text("#done"), "graphward uses the new token of default.");
    await sees(text("#events"), "set");
    assert.equal(await page.locator("#token").inputValue(), "");
    await page.locator("summary").click();
    await sees(text("dl"), /Generation\s*2/);
    // A selection outlasts what the page reads again.
    await page.locator("dd").nth(2).selectText();
    const selected = () => page.evaluate(() => String(getSelection()));
    const fingerprint = await selected();
    await page.waitForResponse(/token-status/);
    await page.waitForResponse(/token-status/);
    assert.ok(fingerprint);
    assert.equal(await selected(), fingerprint);
  });

  test("has graphward look at the sources", async () => {
    await open();
    await page.locator("#look").click();
    await sees(text("#done"), "graphward has looked at the sources of all tokens.");
    await page.getByRole("button", { name: "Look now: default" }).click();
    await sees(text("#done"), "graphward has looked at the sources of default.");
  });

  test("says when graphward does not answer", async () => {
    await open();
    await sees(text("#tenants li"), "usable");
    await harness.close();
    await sees(text("#problem"), "graphward does not answer");
  });

  test("writes names and messages as text", async () => {
    const alter = (name, value) => {
      if (/^(at|time|.*_at)$/.test(name)) return value;
      return typeof value === "string" || ["advice", "changes_refused"].includes(name) ? MARKUP : value;
    };
    const label = MARKUP.replaceAll('"', '\\"');
    const body = `graphward_graph_rate_limit_usage_ratio{tenant="${label}",kind="<b>"} 0.5\n`;
    const prepare = async () => {
      await page.route(/token-status|events$/, async (route) => {
        const response = await route.fetch();
        await route.fulfill({ response, json: JSON.parse(await response.text(), alter) });
      });
      await page.route(/metrics/, (route) => route.fulfill({ contentType: "text/plain", body }));
    };
    await open({ prepare });
    for (const part of ["#tenants h3", "#tenants .badge", "#tenants .advice", "#events", "#usage", "#read-only"]) {
      await sees(text(part), MARKUP);
    }
    await assertAccessible();
    assert.equal(await page.locator("img, script:not([src]), b").count(), 0);
    await page.unrouteAll({ behavior: "ignoreErrors" });
  });

  test("writes the reasons of refusals as text", async () => {
    await open();
    const refusal = { status: 409, json: { error: { message: MARKUP } } };
    await page.route(/admin.(token$|token.tenant|refresh|last-hour)/, (route) => route.fulfill(refusal));
    await page.getByRole("button", { name: "New token" }).click();
    await page.locator("#token").fill("EAAG");
    await page.getByRole("button", { name: "Use this token" }).click();
    await sees(text("#token-refused"), MARKUP);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.locator("#look").click();
    await sees(text("#refused"), MARKUP);
    await sees(text("#problem"), MARKUP);
    await assertAccessible();
    assert.equal(await page.locator("img, script:not([src]), b").count(), 0);
    await page.unrouteAll({ behavior: "ignoreErrors" });
  });

  test("could not run markup, nor send anything elsewhere", async () => {
    await open();
    const { headers } = await fetch(harness.admin);
    assert.match(headers.get("content-security-policy"), /^default-src 'none'; script-src 'self';/);
    let arrived = 0;
    const elsewhere = createServer(() => (arrived += 1)).listen(0, "127.0.0.1");
    await once(elsewhere, "listening");
    const violations = await page.evaluate(async (url) => {
      const found = [];
      addEventListener("securitypolicyviolation", (event) => found.push(event.effectiveDirective));
      const script = document.createElement("script");
      script.append("document.title = 'run'");
      document.body.append(script);
      try {
        document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=\"document.title = 'run'\">");
      } catch {
        found.push("no HTML");
      }
      await fetch(url).catch(() => {});
      document.body.append(Object.assign(new Image(), { src: url }));
      await new Promise((resolve) => setTimeout(resolve, 100));
      return [...new Set(found)].sort();
    }, `http://127.0.0.1:${elsewhere.address().port}/`);
    elsewhere.close();
    assert.equal(arrived, 0);
    assert.deepEqual(violations, ["connect-src", "img-src", "no HTML", "require-trusted-types-for"]);
    assert.equal(await page.title(), "graphward");
    forget();
  });
});

describe("the status page behind a key", () => {
  before(async () => {
    const prepare = (folder) => writeFile(join(folder, "key"), "a-key-of-the-operator");
    await startHarness({ prepare, more: `[admin]\nkey = { file = "key" }\n` });
  });
  after(() => harness.close());
  afterEach(closeWindow);

  test("asks for it, and keeps it until the page is loaded again", async () => {
    await open({ colorScheme: "dark", viewport: NARROW });
    await page.locator("#key").fill("another");
    await page.getByRole("button", { name: "Use the key" }).click();
    await sees(text("#problem"), "graphward does not accept this key.");
    await assertAccessible();
    await page.locator("#key").fill("a-key-of-the-operator");
    await page.getByRole("button", { name: "Use the key" }).click();
    await sees(text("#tenants li"), "usable");
    await page.locator("#look").click();
    await sees(text("#done"), "graphward has looked");
    await page.reload();
    await page.locator("#key").waitFor();
    assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [0, 0, ""]);
  });
});

describe("the status page of tenants without metrics of their own", () => {
  before(() => startHarness({ more: "[metrics]\ntenant_label = false\n" }));
  after(() => harness.close());
  afterEach(closeWindow);

  test("does not say that Graph has reported no rate limit", async () => {
    await harness.control("/usage", { "x-app-usage": { call_count: 93 } });
    await fetch(`${harness.proxy}/v25.0/me`).then((response) => response.text());
    await open();
    await sees(text("#unlabelled"), "not shown: metrics.tenant_label");
    assert.equal(await page.locator("#no-usage").isVisible(), false);
    await assertAccessible();
  });
});

const absent = `[routing]\nheader = "X-Tenant-Id"\n[tenants.none]\nsource = { file = "absent" }\n`;
const readOnly = `${absent}[admin]\nwrites = false\n`;
for (const [what, settings, reason, remedy] of [
  ["with admin.writes = false", { more: readOnly }, "admin.writes is false", "set it to true"],
  ["that other machines reach, without a key", { more: absent, admin: "0.0.0.0" }, "other machines can reach", "set admin.key"],
]) {
  describe(`the status page of a listener ${what}`, () => {
    before(() => startHarness(settings));
    after(() => harness.close());
    afterEach(closeWindow);

    test("says why its buttons are off, and how to change that", async () => {
      await open({ viewport: NARROW, colorScheme: "dark" });
      await sees(text("#read-only"), reason);
      await sees(text("#read-only"), remedy);
      const why = await page.locator("#read-only").textContent();
      for (const name of ["Look now", "Look now: default", "New token: default"]) {
        const button = page.getByRole("button", { name, exact: true, description: why });
        assert.ok(await button.isDisabled(), name);
      }
      await sees(text("#tenants .advice"), /^What to do: Put a valid token into its source\.$/);
      await assertAccessible();
      await page.screenshot({ path: await screenshotPath("read-only"), fullPage: true });
    });
  });
}

describe("the status page of ten thousand tenants", () => {
  const tenants = () => page.locator("#tenants h3").allTextContents();
  const name = (index) => `shop-${String(index).padStart(5, "0")}`;
  before(async () => {
    const prepare = async (folder, issue) => {
      const token = await issue();
      await mkdir(join(folder, "tenants"));
      await writeFile(join(folder, "tenants", "x".repeat(120)), token, { mode: 0o600 });
      // Every hundredth has no token that can be used.
      const write = (_, index) => writeFile(join(folder, "tenants", name(index)), index % 100 ? token : "", { mode: 0o600 });
      await Promise.all(Array.from({ length: 10_000 }, write));
    };
    const more = `[routing]\nheader = "X-Tenant-Id"\n[tenants_from]\nfile = "tenants/{tenant}"\n`;
    await startHarness({ prepare, more });
  });
  after(() => harness.close());
  afterEach(closeWindow);

  test("shows them page by page, and those whose state or name the operator wants", async () => {
    await open({ viewport: NARROW });
    await sees(text("#states"), "all: 10,002");
    await sees(text("#range"), "1 to 25");
    await sees(text("#tenants"), name(1));
    await page.screenshot({ path: await screenshotPath("many"), fullPage: true });
    await page.getByRole("button", { name: "Next" }).click();
    await sees(text("#range"), "26 to 50");
    await page.getByRole("button", { name: "Previous" }).click();
    await sees(text("#range"), "1 to 25");
    await page.getByLabel("no usable token").check();
    await sees(text("#tenants"), name(100));
    assert.equal((await tenants()).length, 25);
    await page.getByLabel("all:").check();
    await page.getByLabel("Tenant", { exact: true }).fill("SHOP-0421");
    await sees(text("#tenants"), name(4219));
    assert.deepEqual(await tenants(), Array.from({ length: 10 }, (_, index) => name(4210 + index)));
    await page.getByLabel("Tenant", { exact: true }).fill("xxx");
    await sees(text("#tenants"), "x".repeat(120));
    await assertAccessible();
    await page.getByLabel("Tenant", { exact: true }).fill("absent");
    await page.locator("#no-tenants").waitFor();
  });

  test("takes a token for one of them", async () => {
    await open();
    await page.getByLabel("Tenant", { exact: true }).fill(name(4201));
    await sees(text("#tenants h3"), name(4201));
    await page.getByRole("button", { name: "New token" }).click();
    await page.locator("#token").fill(await harness.issue());
    await page.getByRole("button", { name: "Use this token" }).click();
    await sees(text("#done"), `graphward uses the new token of ${name(4201)}.`);
    await sees(text("#events"), "set");
  });
});
