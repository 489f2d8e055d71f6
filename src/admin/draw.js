// What the status page shows of the answers of the admin listener, as elements.
//
// Names and messages come from files, databases and Graph. They are written as text and never as markup, so that none of
// them becomes a part of the page; its Content-Security-Policy refuses what would.

const DAY = 24 * 60 * 60 * 1000;
// The ends of a shorter life, in days, have a time beside their dates.
const SHORT_LIFE = 3;
// The share of a rate limit from which the alert rules warn.
const HIGH_USAGE = 0.8;

/** The words and the tone of each state. */
export const STATES = {
  usable: ["usable", "good"],
  ends_7d: ["ends within 7 days", "warn"],
  ends_1d: ["ends within a day", "bad"],
  dead: ["no usable token", "bad"],
  undecryptable: ["cannot be decrypted", "bad"],
  withdrawn: ["withdrawn", "warn"],
};
const LIMITS = {
  app_calls: "calls of the app",
  app_cpu: "CPU time of the app",
  app_time: "time of the app",
  business_calls: "calls of a business account",
  business_cpu: "CPU time of a business account",
  business_time: "time of a business account",
  page_calls: "calls of a page",
  page_cpu: "CPU time of a page",
  page_time: "time of a page",
  ad_account: "ad account",
  insights_app: "ads insights of the app",
  insights_account: "ads insights of an account",
};
const PLOTS = {
  requests: "requests",
  healed: "healed: sent again with a newer token",
  refused: "refused or lost",
};

const dateAndTime = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "long", hourCycle: "h23" });
const date = new Intl.DateTimeFormat("en", { dateStyle: "medium" });

export const formatNumber = (value) => value.toLocaleString("en");
export const formatTime = (time) => dateAndTime.format(new Date(time));

/** Creates an element; strings among its children become text. */
export function create(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function createSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries({ preserveAspectRatio: "none", ...attributes })) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const quiet = (text) => create("p", { className: "quiet" }, text);

/** A bar that is filled to a share between 0 and 1. What it says is in the text beside it. */
function createBar(share, tone) {
  const width = 100 * Math.min(1, Math.max(0, share));
  const filled = createSvg("rect", { width, height: 1 });
  return createSvg("svg", { class: `bar ${tone}`, viewBox: "0 0 100 1", "aria-hidden": true }, filled);
}

/** A plot of a number of each minute. */
export function createPlot(kind, minutes) {
  const title = PLOTS[kind];
  const total = formatNumber(minutes.reduce((sum, count) => sum + count, 0));
  const most = Math.max(...minutes);
  const bars = minutes.map((count, x) => {
    const height = most && (20 * count) / most;
    return createSvg("rect", { x: x + 0.1, y: 20 - height, width: 0.8, height });
  });
  const atMost = `at most ${formatNumber(most)} a minute`;
  const label = `${total} ${title}; ${atMost}`;
  const svg = createSvg("svg", { viewBox: `0 0 ${minutes.length} 20`, role: "img", "aria-label": label }, ...bars);
  const ends = ["an hour ago", "now"].map((text) => create("span", {}, text));
  const caption = create("figcaption", {}, create("strong", {}, total), title, quiet(atMost));
  return create("figure", { className: kind }, caption, svg, create("p", { className: "quiet axis" }, ...ends));
}

/** The used share of a rate limit. */
export function describeUsage({ kind, share }) {
  const tone = share >= 1 ? "bad" : share >= HIGH_USAGE ? "warn" : "good";
  return [createBar(share, tone), quiet(`${Math.round(100 * share)} % of the limit: ${LIMITS[kind] ?? kind}`)];
}

/** The life of a token, what is left of it, and what the operator has to do. */
export function describeLife(token) {
  const parts = token.usable ? describeRest(token) : [create("p", {}, describeNoToken(token))];
  if (!token.usable) parts.push(quiet(token.reason));
  if (token.advice) parts.push(create("p", { className: "advice" }, `What to do: ${token.advice}`));
  return parts;
}

function describeNoToken({ expires_at: end, days_left: days }) {
  if (end === null) return "No token is in use.";
  return `No token is in use. The last one ${days < 0 ? "ended" : "was to end"} on ${date.format(new Date(end))}.`;
}

/** What is left of the life of a token in use: a bar from the time at which it was issued, or first seen, to its end. */
function describeRest({ state, expiry, issued_at: issued, first_seen_at: seen, expires_at: end, days_left: days }) {
  const [, tone] = STATES[state] ?? [];
  const start = issued ?? seen;
  const life = (Date.parse(end) - Date.parse(start)) / DAY;
  const format = life < SHORT_LIFE ? dateAndTime : date;
  const ends = [start && [issued ? "issued" : "first seen", start], end && ["ends", end]].filter(Boolean);
  const axis = ends.map(([what, time]) => create("span", {}, `${what} ${format.format(new Date(time))}`));
  const below = axis.length ? [create("p", { className: "quiet axis" }, ...axis)] : [];
  if (expiry === "never") return [create("p", {}, "Never expires"), createBar(1, `${tone} endless`), ...below];
  if (expiry === "unknown") return [create("p", {}, "The end is unknown"), createBar(0, "unknown"), ...below];
  // A row that was read before its token was used has no time at which its life began.
  const bar = start ? [createBar(life > 0 ? days / life : 0, tone)] : [];
  return [create("p", {}, describeDays(days)), ...bar, ...below];
}

function describeDays(days) {
  if (days < 0) return "The end has passed";
  if (days < 1) return "Less than a day left";
  return days < 2 ? "1 day left" : `${formatNumber(Math.floor(days))} days left`;
}

/** All that is known of a token, as terms and descriptions. */
export function describeFacts(token, limit) {
  const { last_refresh: refresh, last_rejection: rejection } = token;
  const facts = {
    State: token.reason,
    "Where from": token.source,
    Fingerprint: token.fingerprint,
    Generation: token.generation,
    Issued: token.issued_at && formatTime(token.issued_at),
    "First seen": token.first_seen_at && formatTime(token.first_seen_at),
    Ends: token.expires_at && formatTime(token.expires_at),
    "Data access ends": token.data_access_expires_at && formatTime(token.data_access_expires_at),
    "Renewal due": token.renew_at && formatTime(token.renew_at),
    Permissions: token.scopes?.join(", "),
    "Missing permissions": token.missing_scopes?.join(", "),
    "Last refresh":
      refresh && [refresh.outcome.replaceAll("_", " "), formatTime(refresh.at), refresh.error].filter(Boolean).join(", "),
    "Last rejection": rejection && `${rejection.reason}, ${formatTime(rejection.at)}`,
  };
  const item = ([name, ...value]) => [create("dt", {}, name), create("dd", {}, ...value)];
  const items = Object.entries(facts).filter(([, value]) => value).flatMap(([name, value]) => item([name, String(value)]));
  return limit ? [...items, ...item(["Graph usage", ...describeUsage(limit)])] : items;
}

/** An event as an item of a list. */
export function describeEvent({ time, tenant, kind, reason }) {
  const what = create("strong", {}, kind.replaceAll("_", " "));
  const [who, why] = [create("span", {}, tenant ?? ""), create("span", {}, reason ?? "")];
  return create("li", {}, create("time", { dateTime: time }, formatTime(time)), what, who, why);
}
