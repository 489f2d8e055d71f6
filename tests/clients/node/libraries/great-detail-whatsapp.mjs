import { Client } from "@great-detail/whatsapp";

import { graphward } from "../../../../config/clients/great-detail-whatsapp.mjs";
import { BUSINESS, PHONE, TO } from "../calls.mjs";

// It downloads media with `Host: lookaside.fbsbx.com`, at any address, and without a token.
export default function connect(address, token) {
  const client = graphward({ Client }, address, { headers: { Authorization: `Bearer ${token}` }, retry: 0 });
  const send = (message) => client.message.createMessage({ phoneNumberID: PHONE, to: TO, ...message }).json();

  return {
    text: (body) => send({ type: "text", text: { body } }),
    template: (name) => send({ type: "template", template: { name, language: { code: "en_US" } } }),
    async upload(bytes) {
      const file = new Blob([bytes]);
      const upload = { phoneNumberID: PHONE, file, filename: "file.pdf", mimeType: "application/pdf" };
      return (await client.media.upload(upload).json()).id;
    },
    async download(mediaID) {
      const { url } = await client.media.getURL({ mediaID }).json();
      return client.media.download({ mediaURL: url }).arrayBuffer();
    },
    // It has no call for the next page.
    async list() {
      const page = await client.template.list(BUSINESS, { limit: 100 }).json();
      return page.data.map(({ name }) => name);
    },
  };
}
