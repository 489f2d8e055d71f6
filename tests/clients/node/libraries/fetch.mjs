import { BUSINESS, PHONE, item, template, text } from "../calls.mjs";

// Media need a User-Agent: Meta refuses undici's own.
export default function connect(address, token) {
  const graph = `${address}/v25.0`;
  const headers = { Authorization: `Bearer ${token}` };
  const call = async (url, init = {}) => {
    const answer = await fetch(url, { ...init, headers: { ...headers, ...init.headers } });
    if (!answer.ok) throw new Error(await answer.text());
    return answer;
  };
  const json = async (url, init) => (await call(url, init)).json();
  const post = (path, body) =>
    json(`${graph}/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });

  return {
    text: (body) => post(`${PHONE}/messages`, text(body)),
    // The token inside the JSON, as some apps send it.
    template: (name) => post(`${PHONE}/messages`, { access_token: token, ...template(name) }),
    async upload(bytes) {
      const form = new FormData();
      form.set("messaging_product", "whatsapp");
      form.set("file", new Blob([bytes], { type: "application/pdf" }), "file.pdf");
      form.set("access_token", token);
      return (await json(`${graph}/${PHONE}/media`, { method: "POST", body: form })).id;
    },
    async download(id) {
      const { url } = await json(`${graph}/${id}`);
      return (await call(url, { headers: { "User-Agent": "an-app" } })).arrayBuffer();
    },
    async list() {
      const names = [];
      let next = `${graph}/${BUSINESS}/message_templates?limit=20&access_token=${token}`;
      while (next) {
        const page = await json(next);
        names.push(...page.data.map(({ name }) => name));
        next = page.paging?.next;
      }
      return names;
    },
    async batch(bodies) {
      const items = bodies.map((body) => item(body, token));
      const form = new URLSearchParams({ access_token: token, batch: JSON.stringify(items) });
      return json(graph, { method: "POST", body: form });
    },
  };
}
