// The status page: asks the admin listener that served it, and passes the operator's changes on.

import { STATES, create, createPlot, describeEvent, describeFacts, describeLife, describeUsage } from "./draw.js";
import { formatNumber, formatTime } from "./draw.js";

const PAGE_SIZE = 25;
const SHOWN_EVENTS = 200;
const SHOWN_LIMITS = 6;

const find = (id) => document.getElementById(id);

/** Shows a text, or hides its element if it is empty. A screen reader reads it again only if it has changed. */
function show(id, text) {
  const element = find(id);
  if (element.textContent !== (text ?? "")) element.textContent = text ?? "";
  element.hidden = !text;
}

// === the listener ===

let key = "";
let keyEntered = Promise.resolve();

/** Requests a path, relative to the page. Waits for the key if the listener wants one. A signal gives the request up. */
async function request(method, path, body, signal) {
  await keyEntered;
  const used = key;
  const headers = method === "GET" ? {} : { "Graphward-Admin": "yes" };
  if (used) headers.Authorization = `Bearer ${used}`;
  if (body) headers["Content-Type"] = "application/json";
  const signals = [AbortSignal.timeout(60_000), signal].filter(Boolean);
  const init = { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.any(signals) };
  const response = await fetch(path, { ...init, cache: "no-store", credentials: "omit", redirect: "error" });
  if (response.status === 401) {
    if (used === key) askForKey();
    // What the operator has not confirmed since is not sent with the next key.
    signal?.throwIfAborted();
    return request(method, path, body, signal);
  }
  const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
  const answer = isJson ? await response.json() : await response.text();
  if (!response.ok) {
    const { message, differences } = answer.error ?? {};
    throw Object.assign(new Error(message ?? `graphward answered ${path} with status ${response.status}`), { differences });
  }
  return answer;
}

const read = (path) => request("GET", path);

const WRONG_KEY = "graphward does not accept this key.";

/** Shows the form for the key, once for all requests that wait for it. A dialog would lie above it. */
function askForKey() {
  if (!find("key-form").hidden) return;
  closeDialog();
  show("problem", key && WRONG_KEY);
  Object.assign(find("stage"), { textContent: "needs the key", className: "badge warn" });
  find("content").hidden = true;
  find("key-form").hidden = false;
  find("key").focus();
  keyEntered = new Promise((resolve) => {
    find("key-form").onsubmit = (event) => {
      event.preventDefault();
      const entered = find("key").value.trim();
      // No key has another character, and a header takes only some of them.
      if (!/^[!-~]+$/.test(entered)) return show("problem", WRONG_KEY);
      key = entered;
      find("key-form").reset();
      find("key-form").hidden = true;
      show("problem", "");
      resolve();
    };
  });
}

const failures = new Map();

/** Runs a task, and says why it failed until it succeeds. */
async function attempt(task) {
  try {
    await task();
    failures.delete(task);
  } catch (error) {
    const isSilent = error instanceof TypeError || error.name === "TimeoutError";
    failures.set(task, isSilent ? "graphward does not answer; this page shows what it said last." : error.message);
  }
  if (find("key-form").hidden) show("problem", [...new Set(failures.values())].join(" "));
}

/** Repeats a task while the page is visible. */
async function repeat(seconds, task) {
  for (;;) {
    if (!document.hidden) await attempt(task);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

const GIVEN_UP = "The change was given up before graphward answered. If it had been made by then, the events show it.";

/** Makes a change that the operator asked for, says what came of it, and reads the state again. */
async function change(button, doing, { method, path, body, signal, done, refused = "refused" }) {
  const before = button.textContent;
  Object.assign(button, { disabled: true, textContent: doing });
  ["done", "refused"].forEach((id) => show(id, ""));
  let isDone = false;
  try {
    await request(method, path, body, signal);
    show("done", done);
    isDone = true;
  } catch (error) {
    const unlike = `The token was not changed, because it is not known to be like the current one: ${error.differences}.`;
    // The dialog may be that of another token by now.
    if (signal?.aborted) show("refused", GIVEN_UP);
    else {
      show(refused, error.differences ? unlike : error.message);
      find("token-force").hidden = !error.differences;
    }
  }
  Object.assign(button, { disabled: false, textContent: before });
  await attempt(readTokens);
  return isDone;
}

// === the last hour, and Graph usage ===

async function readHour() {
  const { requests, healed, refused } = await read("admin/last-hour");
  find("plots").replaceChildren(...Object.entries({ requests, healed, refused }).map((entry) => createPlot(...entry)));
}

/** The rate limit of each tenant that is used most. */
let usage = new Map();

async function readUsage() {
  const metrics = await read("metrics");
  const highest = new Map();
  for (const [{ tenant, kind }, share] of samples(metrics, "graph_rate_limit_usage_ratio")) {
    if (!(highest.get(tenant)?.share >= share)) highest.set(tenant, { kind, share });
  }
  usage = highest;
  const tenants = samples(metrics, "tokens").reduce((sum, [, count]) => sum + count, 0);
  const labelled = new Set(samples(metrics, "upstream_attempts_total").map(([{ tenant }]) => tenant));
  ["", "other"].forEach((name) => labelled.delete(name));
  find("unlabelled").hidden = labelled.size >= tenants;
  const most = [...usage].sort(([, one], [, other]) => other.share - one.share).slice(0, SHOWN_LIMITS);
  const items = most.map(([tenant, limit]) => create("li", {}, create("strong", {}, tenant), ...describeUsage(limit)));
  find("usage").replaceChildren(...items);
  find("no-usage").hidden = most.length > 0 || !find("unlabelled").hidden;
}

/** The labels and the value of each sample of a metric. */
function samples(metrics, name) {
  const lines = metrics.matchAll(new RegExp(`^graphward_${name}\\{(.*)\\} (\\S+)$`, "gm"));
  return [...lines].map(([, text, value]) => {
    const labels = text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g);
    return [Object.fromEntries([...labels].map(([, label, text]) => [label, unescape(text)])), Number(value)];
  });
}

const unescape = (text) => text.replace(/\\(.)/g, (_, letter) => (letter === "n" ? "\n" : letter));

// === tokens ===

const filter = { search: "", state: "" };
/** Where each page of tenants begins, up to the one that is shown. */
let pages = [""];
/** Why the listener takes no changes; `null` if it does. */
let changesRefused = "";
const rows = new Map();

async function readTokens() {
  const path = tokensPath();
  const status = await read(path);
  // The operator has turned the page since.
  if (path !== tokensPath()) return;
  find("content").hidden = false;
  changesRefused = status.changes_refused;
  showStage(status);
  showStates(status.counts);
  showTenants(status.tenants);
  showPages(status.tenants.length, status.next);
}

function tokensPath() {
  const query = Object.entries({ limit: PAGE_SIZE, after: pages.at(-1), ...filter });
  return `admin/token-status?${new URLSearchParams(query.filter(([, value]) => value))}`;
}

function showStage({ ready, stage, tenants_from: unread }) {
  const [text, tone] = ready ? ["ready", "good"] : stage === "serving" ? ["not ready", "bad"] : [stage, "warn"];
  Object.assign(find("stage"), { textContent: text, className: `badge ${tone}` });
  find("as-of").textContent = `as of ${formatTime(Date.now())}`;
  show("read-only", changesRefused && `Look now and New token are off: ${changesRefused}.`);
  show("unread", unread && `Reading the tenants of [tenants_from] has failed since ${formatTime(unread.since)}: ${unread.error}.`);
  if (find("look").textContent === "Look now") find("look").disabled = changesRefused !== null;
}

/** Shows a choice for each state that a tenant has, with the number of its tenants. */
function showStates(counts) {
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  find("filter").hidden = all < 2;
  const known = Object.entries(STATES).map(([state, [text]]) => [state, text, counts[state] ?? 0]);
  for (const [state, text, count] of [["", "all", all], ...known]) {
    const id = `state-${state}`;
    if (!find(id)) {
      const input = create("input", { type: "radio", name: "state", value: state, checked: state === filter.state });
      find("states").append(create("label", { id }, input, create("span")));
    }
    find(id).lastChild.textContent = `${text}: ${formatNumber(count)}`;
    find(id).hidden = count === 0 && state !== "" && state !== filter.state;
  }
}

function showTenants(tokens) {
  const names = new Set(tokens.map(({ tenant }) => tenant));
  [...rows.keys()].filter((name) => !names.has(name)).forEach((name) => rows.delete(name));
  const shown = tokens.map((token) => {
    if (!rows.has(token.tenant)) rows.set(token.tenant, createRow(token.tenant));
    rows.get(token.tenant).update(token);
    return rows.get(token.tenant).element;
  });
  const list = find("tenants");
  // Rows that stay where they are keep the focus.
  const isSame = shown.length === list.children.length && shown.every((row, at) => list.children[at] === row);
  if (!isSame) list.replaceChildren(...shown);
  find("no-tenants").hidden = shown.length > 0;
}

function showPages(count, next) {
  const first = (pages.length - 1) * PAGE_SIZE;
  show("range", count ? `${formatNumber(first + 1)} to ${formatNumber(first + count)}` : "");
  find("previous").disabled = pages.length === 1;
  find("next").disabled = !next;
  find("next").value = next ?? "";
  find("pages").hidden = pages.length === 1 && !next;
}

/** Creates the row of a tenant, whose parts follow the state of its token. */
function createRow(tenant) {
  const [badge, life, facts] = [create("span"), create("div"), create("dl")];
  const button = (text, label, onclick) => {
    const made = create("button", { type: "button", ariaLabel: `${text}: ${label}`, onclick }, text);
    made.setAttribute("aria-describedby", "read-only");
    return made;
  };
  const look = button("Look now", tenant, () => lookNow(look, tenant));
  const replace = button("New token", tenant, () => askForToken(tenant));
  const name = create("div", {}, create("h3", {}, tenant), badge);
  const summary = create("summary", { ariaLabel: `Details: ${tenant}` }, "Details");
  const buttons = create("div", { className: "actions" }, look, replace);
  const element = create("li", {}, name, life, buttons, create("details", {}, summary, facts));
  let shown;
  const update = (token) => {
    const limit = usage.get(tenant);
    const next = JSON.stringify([token, limit, changesRefused]);
    // What has not changed stays, and so does a selection in it.
    if (next === shown) return;
    shown = next;
    const [text, tone] = STATES[token.state] ?? [token.state, "warn"];
    Object.assign(badge, { textContent: text, className: `badge ${tone}` });
    life.replaceChildren(...describeLife(token));
    facts.replaceChildren(...describeFacts(token, limit));
    if (look.textContent === "Look now") look.disabled = changesRefused !== null;
    replace.disabled = changesRefused !== null;
  };
  return { element, update };
}

/** Has graphward look at the sources of a tenant, or of all, and renew what is due. */
function lookNow(button, tenant) {
  const path = `admin/refresh-token${tenant && `?tenant=${encodeURIComponent(tenant)}`}`;
  const done = `graphward has looked at the sources of ${tenant || "all tokens"}.`;
  return change(button, "Looking …", { method: "POST", path, done });
}

/** Ends with the dialog, and ends the request that the dialog waits for. */
let dialogLife = new AbortController();

/** Closes the dialog. A token does not stay in the page. */
function closeDialog() {
  dialogLife.abort();
  find("token-form").reset();
  find("token-dialog").close();
}

function askForToken(tenant) {
  dialogLife = new AbortController();
  const { signal } = dialogLife;
  find("token-tenant").textContent = tenant;
  show("token-refused", "");
  find("token-form").onsubmit = async (event) => {
    event.preventDefault();
    const button = event.submitter ?? find("token-submit");
    const force = button.id === "token-force" ? "&force=yes" : "";
    const path = `admin/token?tenant=${encodeURIComponent(tenant)}${force}`;
    const body = { access_token: find("token").value.trim() };
    const done = `graphward uses the new token of ${tenant}.`;
    const put = { method: "PUT", path, body, signal, done, refused: "token-refused" };
    if ((await change(button, "Checking …", put)) && !signal.aborted) closeDialog();
  };
  find("token-dialog").showModal();
}

// === events ===

/** The last event that the page has; `undefined` before it has asked. */
let lastEvent;

/** Reads what has happened since, or waits until something happens. */
async function readEvents() {
  const { events, last } = await read(`admin/events${lastEvent === undefined ? "" : `?after=${lastEvent}&wait=25`}`);
  lastEvent = last;
  if (events.length === 0) return;
  const list = find("events");
  list.prepend(...events.reverse().map(describeEvent));
  while (list.children.length > SHOWN_EVENTS) list.lastChild.remove();
  list.hidden = false;
  find("no-events").hidden = true;
  await readTokens();
}

// === the operator ===

let typed;

function choose(what) {
  Object.assign(filter, what);
  turn([""]);
}

function turn(to) {
  pages = to;
  attempt(readTokens);
}

find("look").onclick = () => lookNow(find("look"), "");
find("token-cancel").onclick = closeDialog;
// Another token is compared, and not forced.
find("token-form").onreset = find("token").oninput = () => (find("token-force").hidden = true);
// Esc closes it, too. Another may be open by the time that the browser says so.
find("token-dialog").onclose = () => find("token-dialog").open || closeDialog();
find("filter").onsubmit = (event) => event.preventDefault();
find("states").onchange = (event) => choose({ state: event.target.value });
find("previous").onclick = () => turn(pages.slice(0, -1));
find("next").onclick = () => turn([...pages, find("next").value]);
find("search").oninput = () => {
  clearTimeout(typed);
  typed = setTimeout(() => choose({ search: find("search").value.trim() }), 200);
};

// If the listener wants a key, the first request alone finds out.
await attempt(readTokens);
repeat(5, readTokens);
repeat(1, readEvents);
repeat(15, readHour);
repeat(15, readUsage);
