// @great-detail/whatsapp: the base URL. It sends a token only if you pass one.
//
//   import { Client } from "@great-detail/whatsapp";
//   const client = graphward({ Client });

export function graphward({ Client }, address = "http://127.0.0.1:8080", request = {}) {
  return new Client({ baseUrl: address, graphVersion: "v25.0", request });
}
