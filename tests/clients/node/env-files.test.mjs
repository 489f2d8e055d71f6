// npm's dotenv reads a file as graphward's own tests say that it does.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import dotenv from "dotenv";

const corpus = JSON.parse(readFileSync(new URL("../env-files.json", import.meta.url)));

test("the corpus of .env files is read as it says", () => {
  assert.ok(corpus.length > 10);
  for (const { name, file, npm } of corpus) {
    assert.equal(dotenv.parse(file).WHATSAPP_TOKEN ?? null, npm, name);
  }
});
