// An app that does not know graphward: `node app.mjs LIBRARY TOKEN` makes every usual call, and prints what it sent. With a
// third argument, an address instead of Graph's own, its set-up is the one of config/clients.

import { makeEveryCall } from "./calls.mjs";

const [library, token, address = "https://graph.facebook.com"] = process.argv.slice(2);
const { default: connect } = await import(`./libraries/${library}.mjs`);
try {
  console.log(JSON.stringify(await makeEveryCall(connect(address, token))));
} catch (error) {
  console.error(error.stack ?? error, error.response?.data ?? "");
  process.exitCode = 1;
}
