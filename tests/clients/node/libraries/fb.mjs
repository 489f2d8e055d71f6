import { promisify } from "node:util";

import fb from "fb";

import { BUSINESS, PHONE, item, template, text } from "../calls.mjs";

// Graph's address is built in.
export default function connect(_address, token) {
  fb.options({ version: "v25.0", accessToken: token });
  const api = promisify(fb.napi);

  return {
    text: (body) => api(`${PHONE}/messages`, "post", text(body)),
    template: (name) => api(`${PHONE}/messages`, "post", template(name)),
    async list() {
      const names = [];
      let after;
      do {
        const page = await api(`${BUSINESS}/message_templates`, { limit: 20, ...(after && { after }) });
        names.push(...page.data.map(({ name }) => name));
        after = page.paging.next && page.paging.cursors.after;
      } while (after);
      return names;
    },
    batch: (bodies) => api("", "post", { batch: bodies.map((body) => item(body, token)) }),
  };
}
