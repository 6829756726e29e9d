// `npm test`: everything CI runs. Without arguments: system requirements, checks, all tests on Node, Deno and Bun, and
// most of them on the newest Node. With arguments, a part:
//
//   npm test -- --runtime deno           the tests on one runtime (node, deno, bun; may be repeated)
//   npm test -- --only unit              one folder of test/ on the three runtimes
//   npm test -- --only check             the checks alone
//   npm test -- byte_queue               test files whose path contains this
//
// The last line is `N passed, N failed`, with `, N skipped` if there were any.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { NEWEST_NODE, newestNodeAvailable, prepareNewestNode } from "./newest_node.ts";
import { run, since } from "./run.ts";
import { programOf, ROOT, type Runtime } from "./runtimes.ts";
import { ensureRequirements } from "./system_requirements.ts";

const RUNTIMES: Runtime[] = ["node", "deno", "bun"];
/** What needs nothing but the runtime; the peers need say nothing new about a second Node. */
const NEWEST_NODE_FOLDERS = ["unit", "property", "conformance"];
const TSC = [process.execPath, "node_modules/typescript/bin/tsc"];
const VITEST = "node_modules/vitest/vitest.mjs";

/** What one step or group of tests came to. */
interface Tally {
  name: string;
  passed: number;
  failed: number;
  skipped: number;
  took: string;
}

function checks(): { name: string; command: string[] }[] {
  const deno = programOf("deno");
  return [
    { name: "types, Node", command: [...TSC, "-p", "tsconfig.json"] },
    { name: "types, core without a runtime", command: [...TSC, "-p", "tsconfig.src.json"] },
    { name: "types, Bun", command: [...TSC, "-p", "tsconfig.bun.json"] },
    { name: "types, Deno", command: [deno, "check", "adapters/deno.ts"] },
    { name: "lint", command: [deno, "lint"] },
    { name: "format", command: [deno, "fmt", "--check"] },
    { name: "imports", command: [process.execPath, "--import", "tsx", "scripts/check_imports.ts"] },
  ];
}

/** Runs the checks, as many at a time as there are cores. */
async function runChecks(): Promise<Tally[]> {
  const waiting = checks();
  const tallies: Tally[] = [];
  async function worker(): Promise<void> {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
      const start = performance.now();
      const { ok, output } = await run(check.command);
      if (!ok) console.log(`\n--- ${check.name} failed: ${check.command.join(" ")}\n${output}`);
      tallies.push(step(check.name, ok ? "passed" : "failed", since(start)));
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return tallies;
}

async function requireSystem(): Promise<Tally[]> {
  const start = performance.now();
  return [...await ensureRequirements()].map(([{ title }, state]) => {
    if (state === "missing") console.warn(`\n*** ${title} is not installed: its peers tests will be SKIPPED ***\n`);
    const result = state === "missing" ? "skipped" : state === "failed" ? "failed" : "passed";
    return step(`${title} (${state})`, result, since(start));
  });
}

function step(name: string, result: "passed" | "failed" | "skipped", took: string): Tally {
  const tally: Tally = { name, passed: 0, failed: 0, skipped: 0, took };
  tally[result] = 1;
  console.log(`${result.padEnd(8)}${name} (${took})`);
  return tally;
}

interface TestRun {
  name: string;
  runtime: Runtime;
  args: string[];
  /** Another Node, in its own copy of the checkout. */
  program?: string;
  cwd?: string;
  env?: Record<string, string>;
}

/** Runs vitest inside a runtime. */
async function runTests(test: TestRun): Promise<Tally> {
  console.log(`\n=== ${test.name}`);
  const start = performance.now();
  const reports = mkdtempSync(join(tmpdir(), "isthmus-report-"));
  const file = join(reports, "report.json");
  try {
    const program = test.program ?? programOf(test.runtime);
    const flags = { node: [], deno: ["run", "-A"], bun: ["--bun"] }[test.runtime];
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
    const { ok } = await run([program, ...flags, VITEST, "run", ...reporters, ...test.args], {
      cwd: test.cwd ?? ROOT,
      env: { ...test.env, ISTHMUS_TEST_RUNTIME: test.runtime },
      inherit: true,
    });
    return { name: test.name, ...countReport(file, ok), took: since(start) };
  } finally {
    rmSync(reports, { recursive: true, force: true });
  }
}

interface Report {
  numTotalTests: number;
  numPassedTests: number;
  numFailedTests: number;
  testResults: { status: string; assertionResults: { status: string }[] }[];
}

function countReport(file: string, ok: boolean): Pick<Tally, "passed" | "failed" | "skipped"> {
  let report: Report;
  try {
    report = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    console.error("vitest left no report");
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const passed = report.numPassedTests;
  // A file that cannot be loaded, or whose hooks fail, has no failed test of its own.
  const failedFiles =
    report.testResults.filter((result) =>
      result.status === "failed" && !result.assertionResults.some((test) => test.status === "failed")
    ).length;
  let failed = report.numFailedTests + failedFiles;
  const skipped = report.numTotalTests - passed - report.numFailedTests;
  if (passed + failed === 0) console.error("No test ran");
  // An unhandled error belongs to no test, nor does a run without any.
  if (failed === 0 && (!ok || passed === 0)) failed = 1;
  return { passed, failed, skipped };
}

async function runNewestNode(preparing: ReturnType<typeof prepareNewestNode>): Promise<Tally> {
  const name = `node ${NEWEST_NODE}`;
  const start = performance.now();
  try {
    const node = await preparing;
    try {
      return await runTests({
        name,
        runtime: "node",
        args: NEWEST_NODE_FOLDERS.map((folder) => `test/${folder}/`),
        program: node.program,
        cwd: node.checkout,
        env: { ...node.env, ISTHMUS_TEST_NODE_VERSION: `v${NEWEST_NODE}` },
      });
    } finally {
      node.remove();
    }
  } catch (error) {
    console.error(`\n=== ${name}\n${(error as Error).message}`);
    return { name, passed: 0, failed: 1, skipped: 0, took: since(start) };
  }
}

function summarize(tallies: Tally[], groups: Tally[], start: number): void {
  const all = [...tallies, ...groups];
  const passed = all.reduce((sum, tally) => sum + tally.passed, 0);
  const failed = all.reduce((sum, tally) => sum + tally.failed, 0);
  const skipped = all.reduce((sum, tally) => sum + tally.skipped, 0);
  console.log(`\nTook ${since(start)}`);
  for (const tally of tallies) {
    if (tally.passed === 0) console.log(`${tally.failed > 0 ? "FAILED" : "SKIPPED"}: ${tally.name}`);
  }
  for (const { name, took, ...counts } of groups) {
    console.log(`${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped (${took})`);
  }
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  // In CI nothing may be left out unseen.
  if (failed > 0 || (skipped > 0 && process.env["CI"] === "true")) process.exitCode = 1;
}

function usage(message: string): never {
  console.error(message);
  process.exit(2);
}

async function main(): Promise<void> {
  const start = performance.now();
  const { values, positionals } = parseArgs({
    options: { runtime: { type: "string", multiple: true }, only: { type: "string" } },
    allowPositionals: true,
  });
  const runtimes = RUNTIMES.filter((runtime) => values.runtime?.includes(runtime) ?? true);
  if (runtimes.length < (values.runtime?.length ?? 0)) usage(`--runtime is one of ${RUNTIMES.join(", ")}`);
  const folders = readdirSync(join(ROOT, "test"));
  if (values.only !== undefined && values.only !== "check" && !folders.includes(values.only)) {
    usage(`--only is "check" or one of ${folders.join(", ")}`);
  }
  const everything = values.runtime === undefined && values.only === undefined && positionals.length === 0;

  if (values.only === "check") return summarize(await runChecks(), [], start);

  const tallies = await requireSystem();
  const groups: Tally[] = [];
  const newestNode = everything && newestNodeAvailable() ? prepareNewestNode() : undefined;
  // Its failure is reported when its turn comes, not as an unhandled rejection before.
  newestNode?.catch(() => {});
  if (everything) {
    tallies.push(...await runChecks());
    // Timing matters from here on, so nothing else may run beside the tests.
    await newestNode?.catch(() => {});
  }
  const args = [...(values.only === undefined ? [] : ["--dir", `test/${values.only}`]), ...positionals];
  for (const runtime of runtimes) groups.push(await runTests({ name: runtime, runtime, args }));
  if (newestNode !== undefined) {
    groups.push(await runNewestNode(newestNode));
  } else if (everything) {
    console.warn(`\n*** There is no Node ${NEWEST_NODE} for this platform on npm: SKIPPED ***`);
    tallies.push(step(`node ${NEWEST_NODE}`, "skipped", "0 s"));
  }
  summarize(tallies, groups, start);
}

await main();
