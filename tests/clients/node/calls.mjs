// The usual calls. Each file of libraries/ says how its library makes them, and leaves out those that it cannot make.
//
//   text(body), template(name)    sends a message
//   batch(bodies)                 sends several texts in one request
//   upload(bytes) -> id           uploads media
//   download(id) -> bytes         downloads media by the URL that Graph returns
//   list() -> names               lists all templates, page by page

import assert from "node:assert/strict";

export const PHONE = "106540352242922";
export const BUSINESS = "102290129340398";
export const TO = "15550100200";

/** Messages in Graph's format, for libraries without types for them. */
export const text = (body) => ({ messaging_product: "whatsapp", to: TO, type: "text", text: { body } });
export const template = (name) => ({
  messaging_product: "whatsapp",
  to: TO,
  type: "template",
  template: { name, language: { code: "en_US" } },
});

/** A batch item that sends a text. */
export const item = (body, token) => ({
  method: "POST",
  relative_url: `${PHONE}/messages?access_token=${token}`,
  body: new URLSearchParams({ ...text(body), text: JSON.stringify({ body }), access_token: token }).toString(),
});

const FILE = "%PDF-1.7 \r\n--\u0000\u00ff access_token=mine";

/** Makes every call, and returns the messages that Graph must have accepted. `around` wraps each call. */
export async function makeEveryCall(library, around = (call) => call()) {
  const sent = ["a text", "a_template"];
  await around(() => library.text("a text"));
  await around(() => library.template("a_template"));
  if (library.batch) {
    const bodies = ["one & one", "two + two", "drei \u00d7 \u{1F600}"];
    await around(() => library.batch(bodies));
    sent.push(...bodies);
  }
  if (library.upload) {
    const id = await around(() => library.upload(Buffer.from(FILE, "latin1")));
    const bytes = await around(() => library.download(id));
    assert.equal(Buffer.from(bytes).toString("latin1"), FILE);
  }
  if (library.list) {
    const names = await around(() => library.list());
    assert.deepEqual(names, Array.from({ length: 57 }, (_, n) => `fake_template_${n}`));
  }
  return sent;
}
