// An app that does not know graphward: `node app.mjs LIBRARY TOKEN` makes every usual call, and prints what it sent.

import { makeEveryCall } from "./calls.mjs";

const [library, token] = process.argv.slice(2);
const { default: connect } = await import(`./libraries/${library}.mjs`);
try {
  console.log(JSON.stringify(await makeEveryCall(connect("https://graph.facebook.com", token))));
} catch (error) {
  console.error(error.stack ?? error, error.response?.data ?? "");
  process.exitCode = 1;
}
