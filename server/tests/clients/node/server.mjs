// A `firn serve` process over an empty directory, for the tests of this folder. FIRN_BINARY names the server to start.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Starts a server; it ends with the test `t`. Answers its port. */
export async function serve(t) {
  assert.ok(process.env.FIRN_BINARY, "FIRN_BINARY names no server");
  const directory = await mkdtemp(join(tmpdir(), "firn-clients-node-"));
  const started = spawn(
    process.env.FIRN_BINARY,
    ["serve", "--data", join(directory, "data"), "--listen", "127.0.0.1:0", "--metrics", "off", "--log-json"],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  t.after(async () => {
    if (started.exitCode === null) {
      started.kill();
      await once(started, "exit");
    }
    await rm(directory, { recursive: true });
  });
  for await (const line of createInterface({ input: started.stderr })) {
    const address = /"address":"127\.0\.0\.1:(\d+)"/.exec(line);
    if (address) {
      // What else the server says must not fill the pipe.
      started.stderr.resume();
      return Number(address[1]);
    }
  }
  assert.fail("the server ended before it served");
}
