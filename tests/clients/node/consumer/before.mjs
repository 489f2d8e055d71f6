// A consumer of a queue of outgoing messages, without the broker: it reads one message a line, and prints what became of it.

import { createInterface } from "node:readline";

const { GRAPH_URL = "https://graph.facebook.com", TENANT_SERVICE_URL } = process.env;

/** Asks the tenant service for the token of a tenant. */
async function credentials(tenantId) {
  const answer = await fetch(`${TENANT_SERVICE_URL}/tenants/${tenantId}/credentials/meta`);
  if (!answer.ok) throw new Error(`the tenant service answered ${answer.status}`);
  return answer.json();
}

/** Sends a message. What may succeed later is tried again, and everything else is for a person. */
async function send({ metadata, phoneNumberId, to, text }) {
  const { accessToken } = await credentials(metadata.tenantId);
  const answer = await fetch(`${GRAPH_URL}/v25.0/${phoneNumberId}/messages`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Authorization: `Bearer ${accessToken}`,
    },
    body: JSON.stringify({ messaging_product: "whatsapp", to, type: "text", text: { body: text } }),
  });
  const { messages, error } = await answer.json();
  if (messages) return { sent: messages[0].id };
  const { code, message, is_transient: isTransient } = error;
  return { [isTransient ? "retry" : "deadLetter"]: `${code}: ${message}` };
}

for await (const line of createInterface({ input: process.stdin })) {
  const result = await send(JSON.parse(line)).catch((error) => ({ retry: error.message }));
  console.log(JSON.stringify(result));
}
