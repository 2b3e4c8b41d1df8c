// The Node blocks of docs/connect.md run as they stand, and print what the page says that they print.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { serve } from "./server.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));

test("the page runs as it is written", async (t) => {
  const page = await readFile(new URL("../../../../docs/connect.md", import.meta.url), "utf8");
  const blocks = [...page.matchAll(/^```js\n(.*?)^```\n\n^```text\n(.*?)^```$/gms)];
  assert.ok(blocks.length > 0, "the page has no block in JavaScript with what it prints");
  for (const [, code, said] of blocks) {
    const program = code.replaceAll("127.0.0.1:3476", `127.0.0.1:${await serve(t)}`);
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], { cwd: here });
    assert.equal(stdout, said);
  }
});
