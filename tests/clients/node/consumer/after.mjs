// A consumer of a queue of outgoing messages, without the broker: it reads one message a line, and prints what became of it.

import { createInterface } from "node:readline";

const { GRAPH_URL = "http://127.0.0.1:8080" } = process.env;

/** Sends a message. What may succeed later is tried again, and everything else is for a person. */
async function send({ metadata, phoneNumberId, to, text }) {
  const answer = await fetch(`${GRAPH_URL}/v25.0/${phoneNumberId}/messages`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "X-Tenant-Id": metadata.tenantId,
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
