// An app that does not know of graphward: `node app.mjs LIBRARY TOKEN` does every usual call, and prints what it sent.

import { doEverything } from "./calls.mjs";

const [library, token] = process.argv.slice(2);
const { default: connect } = await import(`./libraries/${library}.mjs`);
const said = await doEverything(connect("https://graph.facebook.com", token));
console.log(JSON.stringify(said));
