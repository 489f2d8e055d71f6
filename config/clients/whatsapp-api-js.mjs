// whatsapp-api-js has Graph's address built in, but accepts a `fetch` function.
//
//   import { WhatsAppAPI } from "whatsapp-api-js";
//   const Whatsapp = graphward({ WhatsAppAPI });

export function graphward({ WhatsAppAPI }, address = "http://127.0.0.1:8080", options = {}) {
  const viaGraphward = (url, init) => fetch(String(url).replace(/^https:\/\/graph\.facebook\.com/, address), init);
  return new WhatsAppAPI({ token: "unused", v: "v25.0", secure: false, ...options, ponyfill: { fetch: viaGraphward } });
}
