// The usual calls. A library (in libraries/) says how it does each; what it cannot do is left out.
//
//   text(words), template(name)   send a message
//   batch(list of words)          several texts in one request
//   upload(bytes) -> id           media …
//   download(id) -> bytes         … and back, through the URL that Graph gives
//   list() -> names               all templates, page after page

import assert from "node:assert/strict";

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

/** A batch's item that sends a text. */
export const item = (words, token) => ({
  method: "POST",
  relative_url: `${PHONE}/messages?access_token=${token}`,
  body: new URLSearchParams({ ...text(words), text: JSON.stringify({ body: words }), access_token: token }).toString(),
});

const FILE = "%PDF-1.7 \r\n--\u0000\u00ff access_token=mine";

/** Does them all, and returns what Graph must have heard. `doing` may do something around each. */
export async function doEverything(library, doing = (call) => call()) {
  const said = ["a text", "a_template"];
  await doing(() => library.text("a text"));
  await doing(() => library.template("a_template"));
  if (library.batch) {
    const words = ["one & one", "two + two", "drei \u00d7 \u{1F600}"];
    await doing(() => library.batch(words));
    said.push(...words);
  }
  if (library.upload) {
    const id = await doing(() => library.upload(Buffer.from(FILE, "latin1")));
    const bytes = await doing(() => library.download(id));
    assert.equal(Buffer.from(bytes).toString("latin1"), FILE);
  }
  if (library.list) {
    const names = await doing(() => library.list());
    assert.deepEqual(names, Array.from({ length: 57 }, (_, n) => `fake_template_${n}`));
  }
  return said;
}
