import axios from "axios";

import { graphward } from "../../../../config/clients/axios.mjs";
import { BUSINESS, PHONE, item, template, text } from "../calls.mjs";

export default function connect(address, token) {
  const graph = graphward(axios, address);
  graph.defaults.params = { access_token: token };

  return {
    text: (body) => graph.post(`/${PHONE}/messages`, text(body)),
    template: (name) => graph.post(`/${PHONE}/messages`, template(name)),
    async upload(bytes) {
      const form = new FormData();
      form.set("file", new Blob([bytes], { type: "application/pdf" }), "file.pdf");
      form.set("messaging_product", "whatsapp");
      form.set("access_token", token);
      return (await graph.post(`/${PHONE}/media`, form)).data.id;
    },
    async download(id) {
      const { data } = await graph.get(`/${id}`);
      return (await graph.get(data.url, { responseType: "arraybuffer" })).data;
    },
    async list() {
      const names = [];
      let after;
      do {
        const { data } = await graph.get(`/${BUSINESS}/message_templates`, { params: { limit: 20, after } });
        names.push(...data.data.map(({ name }) => name));
        after = data.paging.next && data.paging.cursors.after;
      } while (after);
      return names;
    },
    batch: (bodies) => graph.post("/", { batch: bodies.map((body) => item(body, token)), include_headers: false }),
  };
}
