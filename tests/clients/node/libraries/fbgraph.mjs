import { promisify } from "node:util";

import fbgraph from "fbgraph";

import { graphward } from "../../../../config/clients/fbgraph.mjs";
import { BUSINESS, PHONE, item, template, text } from "../calls.mjs";

// It sends forms without a Content-Type, and makes its own proofs.
export default function connect(address, token, secret = null) {
  const graph = graphward(fbgraph, address).setAccessToken(token).setAppSecret(secret);
  const get = promisify(graph.get.bind(graph));
  const post = promisify(graph.post.bind(graph));
  const form = (message) => ({ ...message, [message.type]: JSON.stringify(message[message.type]) });

  return {
    text: (body) => post(`${PHONE}/messages`, form(text(body))),
    template: (name) => post(`${PHONE}/messages`, { access_token: token, ...form(template(name)) }),
    async list() {
      const names = [];
      let next = `${BUSINESS}/message_templates?limit=20`;
      while (next) {
        const page = await get(next);
        names.push(...page.data.map(({ name }) => name));
        next = page.paging?.next;
      }
      return names;
    },
    async batch(bodies) {
      const items = bodies.map((body) => item(body, token));
      return promisify(graph.batch.bind(graph))(items);
    },
  };
}
