// A session with the types of openapi-typescript and the client openapi-fetch: submit, poll, fetch a sample, and
// an EventSource that stays open after the end of the job.

import createClient from "openapi-fetch";
import { EventSource } from "eventsource";
import type { components, paths } from "./api.js";

type Job = components["schemas"]["JobView"];

const url = process.argv[2]!;
const client = createClient<paths>({ baseUrl: url });

function must<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`${what} is missing`);
  return value;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function dryRun(): Promise<void> {
  const body = { dataset: "fashion-mnist-mini", preset: "dcgan" };
  const { data } = await client.POST("/v1/jobs", { params: { query: { dry_run: true } }, body });
  const steps = must(data, "the dry run").spec.total_steps;
  console.log(`dry run of preset dcgan: total_steps ${steps}, as in the preset`);
  check(steps === 20000, "the preset's total_steps were overridden");
  const refused = await client.POST("/v1/jobs", { body: { dataset: "no-such" } });
  const problem = must(refused.error, "the problem");
  console.log(`a data set that is not there: ${problem.status} ${problem.code}, ${problem.errors?.[0]?.pointer}`);
}

async function train(): Promise<Job> {
  const { data, error } = await client.POST("/v1/jobs", {
    body: {
      dataset: "fashion-mnist-mini",
      total_steps: 60,
      labels: { "made-by": "openapi-fetch" },
      generator: { base_channels: 4, z_dim: 8 },
      discriminator: { base_channels: 4 },
      evaluation: { enabled: false },
    },
  });
  if (!data || !("status" in data)) throw new Error(`refused: ${JSON.stringify(error)}`);
  let job: Job = data;
  console.log(`submitted ${job.id}: ${job.status}, labels ${JSON.stringify(job.labels)}`);
  while (!["succeeded", "failed", "cancelled"].includes(job.status)) {
    await pause(500);
    const path = { job_id: job.id };
    job = must((await client.GET("/v1/jobs/{job_id}", { params: { path } })).data, "the job");
  }
  console.log(`${job.status} at step ${job.progress.step} of ${job.progress.total_steps}`);
  check(job.status === "succeeded", "the job has not succeeded");
  const query = { fields: "id,status", limit: 1 };
  const { data: page } = await client.GET("/v1/jobs", { params: { query } });
  console.log(`a thin list: ${JSON.stringify(must(page, "the page").data)}`);
  return job;
}

async function draw(job: Job): Promise<void> {
  const params = { path: { job_id: job.id }, query: { label: ["Sneaker"], n: 4, seed: 7 } };
  const path = "/v1/jobs/{job_id}/samples";
  const { data: grid, response } = await client.GET(path, { params, parseAs: "arrayBuffer" });
  const bytes = new Uint8Array(must(grid, "the sample"));
  console.log(`a sample: ${bytes.length} bytes of ${response.headers.get("content-type")}`);
  check(bytes[1] === 0x50 && bytes[2] === 0x4e && bytes[3] === 0x47, "it is no PNG");
  const { data: manifest } = await client.GET(path, { params, headers: { Accept: "application/json" } });
  console.log(`its manifest: ${JSON.stringify(manifest).length} bytes of JSON`);
}

// What a page does that never closes its EventSource.
async function listen(job: Job): Promise<void> {
  const asked: string[] = [];
  const seen: string[] = [];
  const source = new EventSource(`${url}/v1/jobs/${job.id}/events`, {
    fetch: async (address, init) => {
      const response = await fetch(address, init);
      asked.push(`${(init.headers as Record<string, string>)["Last-Event-ID"] ?? "-"} -> ${response.status}`);
      return response;
    },
  });
  for (const type of ["job.status", "checkpoint.created", "preview.created", "stream.end", "message"]) {
    source.addEventListener(type, (event) => {
      check(event.data !== "", `an event without data: ${type}`);
      seen.push(type);
    });
  }
  while (source.readyState !== EventSource.CLOSED) await pause(100);
  await pause(3000);
  console.log(`an EventSource that stays open: ${seen.length} events, the last is ${seen.at(-1)}`);
  console.log(`its requests (Last-Event-ID -> status): ${asked.join(", ")}; none in 3 s after that`);
  check(asked.length === 2 && asked[1]!.endsWith("204"), "it asks again and again");
  check(seen.filter((type) => type === "stream.end").length === 1, "the end was not told once");
}

await dryRun();
const job = await train();
await draw(job);
await listen(job);
