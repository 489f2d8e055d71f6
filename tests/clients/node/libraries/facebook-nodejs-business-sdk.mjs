import bizSdk from "facebook-nodejs-business-sdk";

import { graphward } from "../../../../config/clients/facebook-nodejs-business-sdk.mjs";
import { BUSINESS, PHONE, TO, template, text } from "../calls.mjs";

// Its uploads are left out: this version sends a file's request without a body.
export default function connect(address, token) {
  const api = graphward(bizSdk, address, token);

  return {
    text: (body) => api.call("POST", [PHONE, "messages"], text(body)),
    template: (name) => api.call("POST", [PHONE, "messages"], template(name)),
    async list() {
      const page = await new bizSdk.WhatsAppBusinessAccount(BUSINESS).getMessageTemplates(["name"], { limit: 20 });
      const names = page.map(({ name }) => name);
      while (page.hasNext()) {
        await page.next();
        names.push(...page.map(({ name }) => name));
      }
      return names;
    },
    async batch(bodies) {
      const batch = new bizSdk.FacebookAdsApiBatch(api, undefined, (answer) => {
        throw answer.error;
      });
      for (const body of bodies) {
        const message = { messaging_product: "whatsapp", to: TO, type: "text", access_token: token };
        batch.add("POST", [PHONE, "messages"], { ...message, text: encodeURIComponent(JSON.stringify({ body })) });
      }
      await batch.execute();
    },
  };
}
