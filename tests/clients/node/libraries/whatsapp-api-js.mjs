import { WhatsAppAPI } from "whatsapp-api-js";
import { Language, Template, Text } from "whatsapp-api-js/messages";

import { graphward } from "../../../../config/clients/whatsapp-api-js.mjs";
import { PHONE, TO } from "../calls.mjs";

export default function connect(address, token) {
  const whatsapp = graphward({ WhatsAppAPI }, address, { token });
  const checked = (answer) => {
    if (answer.error) throw new Error(answer.error.message);
    return answer;
  };

  return {
    text: async (body) => checked(await whatsapp.sendMessage(PHONE, { phone: TO }, new Text(body))),
    template: async (name) =>
      checked(await whatsapp.sendMessage(PHONE, { phone: TO }, new Template(name, new Language("en_US")))),
    async upload(bytes) {
      const form = new FormData();
      form.set("file", new Blob([bytes], { type: "application/pdf" }), "file.pdf");
      return checked(await whatsapp.uploadMedia(PHONE, form)).id;
    },
    async download(id) {
      const { url } = checked(await whatsapp.retrieveMedia(id));
      return (await whatsapp.fetchMedia(url)).arrayBuffer();
    },
  };
}
