// A window of Chromium with the status page of a graphward in front of the fake Graph.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before } from "node:test";

import { chromium } from "playwright-core";

import { start } from "../clients/node/harness.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const CHROMIUM = {
  // Without it, the one that Playwright has installed.
  executablePath: process.env.CHROMIUM,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
};
export const NARROW = { width: 360, height: 740 };
export const WIDE = { width: 1200, height: 900 };

let browser;
before(async () => (browser = await chromium.launch(CHROMIUM)));
after(() => browser.close());

export let harness;
export let context;
export let page;
/** What the page requested, and what must not happen. */
let requested;
let faults;

/** Starts what the page is of. */
export async function startHarness(options) {
  harness = await start(options);
}

/** Opens the page in a window of its own. */
export async function open({ viewport = WIDE, colorScheme = "light", prepare = () => {} } = {}) {
  context = await browser.newContext({ viewport, colorScheme });
  // Long enough on a slow machine too.
  context.setDefaultTimeout(120_000);
  page = await context.newPage();
  [requested, faults] = [[], []];
  context.on("request", (request) => requested.push(request.url()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("dialog", (dialog) => (faults.push(dialog.message()), dialog.dismiss()));
  page.on("console", (line) => /Content Security Policy|Trusted/.test(line.text()) && faults.push(line.text()));
  await prepare();
  await page.goto(harness.admin);
}

export const text = (selector) => page.locator(selector).first();

/** The row of a tenant. */
export function row(tenant) {
  const name = page.getByRole("heading", { name: tenant, exact: true });
  return page.locator("#tenants > li").filter({ has: name });
}

/** Waits until a locator has a text. */
export async function sees(locator, pattern) {
  await locator.filter({ hasText: pattern }).first().waitFor();
}

/** Fails if axe finds anything, or the page is wider than its window. */
export async function assertAccessible() {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join("\n")}`);
  assert.deepEqual(found, []);
  const [content, width] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= width, `${content} pixels in ${width}`);
}

export async function closeWindow() {
  await context.close();
  assert.deepEqual(faults, []);
  assert.deepEqual(requested.filter((url) => new URL(url).origin !== harness.admin), []);
}

/** Forgets what the page has requested, and what must not have happened. */
export function forget() {
  [requested, faults] = [[], []];
}

/** Where a screenshot goes that a person looks at. */
export async function screenshotPath(name) {
  const folder = join(process.env.CARGO_TARGET_DIR ?? "target", "page", "screenshots");
  await mkdir(folder, { recursive: true });
  return join(folder, `${name}.png`);
}
